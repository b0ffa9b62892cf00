import { execFileSync } from "node:child_process";
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agent, down, fails, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, MiB } from "../kit/image.ts";
import { heldBack } from "../kit/held-back.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { onTerminal, withoutEscapes } from "../kit/terminal.ts";
import { dockerOf, expectMounted, markerIsThere, preparedDisk } from "../kit/volume.ts";

/** A disk that does not answer: its path is down, or it has so little to give that it makes no difference. */
const sandbox = useSandbox();

const LIMIT_MS = 5000;

/** The four commands say so, each of them soon. */
async function expectNoAnswer(box: Sandbox, device: string, prefix: readonly string[]) {
  const asked = (["plan", "up", "down"] as const).map(async (name) => {
    const run = await volume(box, name, ["--device", device], { prefix });
    expect(run.ms).toBeLessThan(LIMIT_MS);
    const message = `${device} does not answer`;
    expect(run.report.error).toMatchObject({ code: "unreadable", message });
  });
  const looked = [5, 3].map(async (exitCode, place) => {
    const check = place === 1 ? ["--check"] : [];
    const args = ["volume", "status", "--root", box.root, "--device", device, ...check];
    const run = await agent(args, { prefix });
    expect(run.ms).toBeLessThan(LIMIT_MS);
    expect(run).toMatchObject({ exitCode });
    expect(run.stdout + run.stderr).toContain("does not answer");
  });
  await Promise.all([...asked, ...looked]);
}

test("nobody waits for a disk that does not answer, blank or not", async () => {
  const box = sandbox();
  for (const disk of [await preparedDisk(box), box.disk(300 * MiB)]) {
    const before = fingerprint(disk.image);
    const slow = heldBack(box, disk.device);
    slow.hold("read", "write");
    await expectNoAnswer(box, disk.device, slow.prefix);
    slow.release();
    await slow.emptied();
    expect(fingerprint(disk.image)).toBe(before);
    // It was only asked, and is as good as before once it answers.
    await up(box, "--device", disk.device);
    await down(box, "--device", disk.device);
  }
});

test("nor for one that fell silent while it was mounted", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const slow = heldBack(box, device);
  slow.hold("read", "write");
  await expectNoAnswer(box, device, slow.prefix);
  expectMounted(box.root);
  slow.release();
  await slow.emptied();
  await down(box, "--device", device);
});

test("a disk is found by its UUID or its label beside one that does not answer", async () => {
  const box = sandbox();
  const silent = box.disk(300 * MiB);
  const disk = await preparedDisk(box);
  const slow = heldBack(box, silent.device);
  slow.hold("read");
  const { uuid } = superblockFacts(disk.image);
  const by = ["--device", `uuid=${uuid}`];
  for (const name of ["up", "plan", "down"] as const) {
    const run = await volume(box, name, by, { prefix: slow.prefix });
    expect(run.report).toMatchObject({ error: null, device: disk.device });
    expect(run.ms).toBeLessThan(LIMIT_MS);
  }
  expect(markerIsThere(box)).toBeFalse();
  const absent = ["--device", `label=${crypto.randomUUID()}`, "--wait", "0"];
  const run = volume(box, "plan", absent, { prefix: slow.prefix });
  const { message } = await fails(run, "device-missing");
  expect(message).toContain(`${silent.device} (does not answer)`);
  expect((await run).ms).toBeLessThan(LIMIT_MS);
});

/** A volume that is up, has something in memory, and whose disk takes nothing. */
async function withSomethingUnwritten(box: Sandbox) {
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const slow = heldBack(box, device);
  slow.hold("write");
  writeFileSync(join(dockerOf(box), "unwritten"), randomBytes(MiB));
  return { device, slow };
}

test("what a disk does not take stops down before it unmounts anything", async () => {
  const box = sandbox();
  const { device, slow } = await withSomethingUnwritten(box);
  const run = volume(box, "down", ["--device", device], { prefix: slow.prefix });
  const { message } = await fails(run, "unreadable");
  expect((await run).ms).toBeLessThan(LIMIT_MS);
  expect(message).toContain("does not answer");
  expect(message).toContain("nothing was unmounted");
  expectMounted(box.root);
  // The child that writes down what is in memory goes on, and is known for what it is.
  const processes = execFileSync("ps", ["-eo", "comm=,args="]).toString().split("\n");
  const [child] = processes.filter((line) => line.endsWith("/proc/self/exe look sync"));
  expect(child).toStartWith("arcbox-agent ");
  slow.release();
  await slow.emptied();
  const report = await down(box, "--device", device);
  expect(JSON.stringify(report.steps)).toContain("clean");
});

test.each(["plan", "up", "status", "down"])(
  "on a terminal %s says that it waits for an answer",
  async (name) => {
    const box = sandbox();
    const { device } = box.disk(300 * MiB);
    const slow = heldBack(box, device);
    slow.hold("read");
    const args = ["volume", name, "--root", box.root, "--device", device];
    const { stdout } = await agent(args, { prefix: [...slow.prefix, ...onTerminal(100)] });
    const [first] = withoutEscapes(stdout).split("\r\n");
    expect(first).toBe(`waiting for ${device} to answer …`);
    slow.release();
    await slow.emptied();
  },
);

test("on a terminal down says what it waits for", async () => {
  const box = sandbox();
  const { device, slow } = await withSomethingUnwritten(box);
  const args = ["volume", "down", "--root", box.root, "--device", device];
  const { stdout } = await agent(args, { prefix: [...slow.prefix, ...onTerminal(100)] });
  const [first] = withoutEscapes(stdout).split("\r\n");
  expect(first).toBe(`writing to ${device} what is still in memory …`);
  slow.release();
  await slow.emptied();
  await down(box, "--device", device);
});

test("nobody waits for a filesystem on such a disk, for an image in it or a root", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  command("mkfs.ext4", "-q", device);
  const folder = box.mount(device, "ext4");
  const image = join(folder, "deep", "disk.img");
  mkdirSync(join(folder, "deep"));
  await up(box, "--image", image, "--size", "200M");
  await down(box, "--image", image);
  const own = box.disk(300 * MiB);
  box.umount(folder);
  box.mount(device, "ext4");
  const slow = heldBack(box, device);
  slow.hold("read", "write");
  const { prefix } = slow;
  const root = join(folder, "deep", "root");
  for (const name of ["plan", "up", "status", "down"]) {
    const runs = [
      ["--image", image, "--root", box.root],
      ["--device", own.device, "--root", root],
    ].map((args) => agent(["volume", name, ...args], { prefix }));
    for (const [index, run] of (await Promise.all(runs)).entries()) {
      expect([name, index, run.exitCode]).toEqual([name, index, [5, 7][index] ?? 0]);
      expect(run.stderr).toContain("does not answer");
      expect(run.ms).toBeLessThan(LIMIT_MS);
    }
  }
  slow.release();
  await slow.emptied();
  await up(box, "--image", image);
  await down(box, "--image", image);
});
