import { expect, test } from "bun:test";
import { closeSync, constants, openSync } from "node:fs";
import { agent, down, fails, plan, start, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, flush, GiB, nonZeroBlocks } from "../kit/image.ts";
import { lockExclusively } from "../kit/libc.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { expectRefused } from "../kit/refusal.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import {
  btrfsDisk,
  dockerOf,
  expectMounted,
  filesystemGone,
  markerIsThere,
  ourMounts,
  preparedDisk,
} from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

const disks: readonly (readonly [string, (box: Sandbox) => Disk | Promise<Disk>])[] = [
  ["a blank disk", (box) => box.disk(GiB)],
  ["a volume", (box) => preparedDisk(box)],
];

test.each(disks)("%s that is read-only is refused", async (_, make) => {
  const box = sandbox();
  const disk = await make(box);
  box.detach(disk.device);
  const device = box.attach(disk.image, "--read-only");
  await expectRefused(box, ["--device", device], { code: "read-only", names: [device] });
  await expectRefused(box, ["--device", device, "--format", "any", "--repair", "always"], {
    code: "read-only",
  });
});

test.each(disks)(
  "%s that another program holds for itself is busy and stays as it is",
  async (_, make) => {
    const box = sandbox();
    const { image, device } = await make(box);
    const before = fingerprint(image);
    const fd = openSync(device, constants.O_RDONLY | constants.O_EXCL);
    const error = await fails(volume(box, "up", ["--device", device]), "busy");
    expect(error.message).toContain(device);
    expect(ourMounts(box)).toBeEmpty();
    flush(device);
    expect(fingerprint(image)).toBe(before);
    closeSync(fd);
    await up(box, "--device", device);
    expectMounted(box.root);
  },
);

test("plan of a disk that another program holds fails as up does", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const fd = openSync(device, constants.O_RDONLY | constants.O_EXCL);
  await expectRefused(box, ["--device", device], { code: "busy" });
  closeSync(fd);
});

test("a locked disk is waited for, and taken when the lock is free", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const unlock = lockExclusively(device);
  const running = volume(box, "up", ["--device", device]);
  const winner = await Promise.race([
    running.then(() => "up"),
    Bun.sleep(400).then(() => "nobody"),
  ]);
  expect(winner).toBe("nobody");
  expect(nonZeroBlocks(image)).toBeEmpty();
  unlock();
  expect((await succeeds(running)).verdict).toBe("blank");
});

test("the wait for a lock ends on Ctrl-C and changes nothing", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const unlock = lockExclusively(device);
  const { child, done } = start(["volume", "up", "--device", device, "--root", box.root]);
  await Promise.race([done, Bun.sleep(300)]);
  child.kill("SIGINT");
  const { exitCode, ms } = await done;
  unlock();
  expect(exitCode).not.toBe(0);
  expect(ms).toBeLessThan(5000);
  expect(nonZeroBlocks(image)).toBeEmpty();
  expect(ourMounts(box)).toBeEmpty();
});

test("a lock that is not free within 30 seconds is busy", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const unlock = lockExclusively(device);
  const { report } = await volume(box, "up", ["--device", device]);
  unlock();
  expect(report.error?.code).toBe("busy");
  expect(report.ms).toBeGreaterThan(28_000);
  expect(report.ms).toBeLessThan(35_000);
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("a volume that is mounted elsewhere goes on, with a note of where and with which options", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const elsewhere = box.mount(device, "elsewhere", "-o", "compress=lzo");
  const planned = await plan(box, "--device", device);
  const report = await up(box, "--device", device);
  expect(report).toMatchObject({ outcome: "changed", verdict: "mounted" });
  expect(stepOutcomes(report)).toMatchObject({ filesystem: "kept", mountpoints: "changed" });
  for (const { notes } of [planned, report]) {
    expect(notes.join("\n")).toContain(elsewhere);
    expect(notes.join("\n")).toContain("compress=lzo");
  }
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
});

test("a volume that is mounted elsewhere read-only is refused, and that mount stays", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const elsewhere = box.mount(disk.device, "elsewhere", "-o", "ro");
  const { report } = await volume(box, "up", ["--device", disk.device]);
  expect(report.error?.code).toBe("read-only");
  expect(`${report.error?.message} ${report.error?.hint}`).toContain(elsewhere);
  expect(mountsUnder(box.dir).map(({ path }) => path)).toEqual([elsewhere]);
});

test("a volume that went read-only while it was mounted is an error", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  const raw = mountsUnder(box.root)[0]?.path ?? "";
  Bun.spawnSync(["mount", "-o", "remount,ro", raw]);
  const before = ourMounts(box);
  await fails(volume(box, "up", ["--device", device]), "read-only");
  expect(ourMounts(box)).toEqual(before);
});

test("a mount of the volume that is read-only itself is an error, and status says so", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  command("mount", "-o", "remount,bind,ro", dockerOf(box));
  for (const word of ["up", "plan"] as const) {
    const error = await fails(volume(box, word, ["--device", device]), "read-only");
    expect(`${error.message} ${error.hint}`).toContain(dockerOf(box));
  }
  const options = ["volume", "status", "--device", device, "--root", box.root];
  const { stdout } = await agent([...options, "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ state: "up", readOnly: true, forcedReadOnly: false });
  expect((await agent(options)).stdout).not.toMatch(/healthy/);
  command("mount", "-o", "remount,bind,rw", dockerOf(box));
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
});

test("an unrelated Btrfs that is mounted is no reason to hesitate", async () => {
  const box = sandbox();
  const stranger = btrfsDisk(box);
  box.mount(stranger.device, "stranger");
  const { device } = box.disk(GiB);
  expect((await up(box, "--device", device)).verdict).toBe("blank");
  const { uuid } = await down(box, "--device", device);
  expect(filesystemGone(uuid ?? "")).toBeTrue();
  expect(mountsUnder(box.path("stranger"))).toHaveLength(1);
});

test("a copy of a mounted volume is another disk: its mounts are not mistaken for it", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  const copy = box.path("copy.img");
  Bun.spawnSync(["cp", "--sparse=always", image, copy]);
  box.mount(box.attach(copy), "copy");
  const report = await up(box, "--device", device);
  expect(stepOutcomes(report).mount).toBe("changed");
  expect(new Set(mountsUnder(box.root).map(({ source }) => source))).toEqual(new Set([device]));
});

test("two commands of which one only plans do not disturb each other", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const runs = await Promise.all([
    volume(box, "up", ["--device", device]),
    volume(box, "plan", ["--device", device]),
    volume(box, "plan", ["--device", device]),
  ]);
  for (const { report } of runs) expect(report.error).toBeNull();
  expectMounted(box.root);
  const before = observe(box);
  await plan(box, "--device", device);
  expect(observe(box).mounts).toEqual(before.mounts);
});
