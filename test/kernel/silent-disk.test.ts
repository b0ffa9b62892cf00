import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { agent, down, fails, plan, up, volume } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { GiB, MiB } from "../kit/image.ts";
import { mounts } from "../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { markerIsThere, preparedDisk } from "../kit/volume.ts";

/** A loop device of somebody else whose file is served by a program that no longer answers: FUSE, a network. */
const sandbox = useSandbox();

interface Served {
  readonly device: string;
  silence(): Promise<void>;
}

async function servedLoop(box: Sandbox): Promise<Served> {
  const raw = box.image(300 * MiB);
  const file = box.path("served");
  writeFileSync(file, "");
  const daemon = Bun.spawn(
    [
      tool("qemu-storage-daemon"),
      ...["--blockdev", `file,node-name=f,filename=${raw}`, "--blockdev", "raw,node-name=n,file=f"],
      ...["--export", `fuse,id=e,node-name=n,mountpoint=${file},writable=on`],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  while (!mounts().some(({ path }) => path === file)) await Bun.sleep(10);
  const device = box.attach(file);
  box.onEnd(() => {
    daemon.kill("SIGCONT");
    box.detach(device);
    Bun.spawnSync(["umount", file]);
    daemon.kill("SIGKILL");
  });
  return {
    device,
    async silence() {
      daemon.kill("SIGSTOP");
      // What the kernel still knows of the file by itself is forgotten then.
      await Bun.sleep(1500);
    },
  };
}

const LIMIT_MS = 5000;

test("a loop device that does not answer stops none of the commands on another disk", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const blank = box.disk(GiB);
  const image = box.image(GiB, "image.img");
  await (await servedLoop(box)).silence();
  for (const named of [
    ["--device", disk.device],
    ["--device", blank.device],
    ["--image", image],
  ]) {
    const began = performance.now();
    await plan(box, ...named);
    await up(box, ...named);
    await agent(["volume", "status", "--root", box.root, ...named]);
    await down(box, ...named);
    expect(performance.now() - began).toBeLessThan(4 * LIMIT_MS);
  }
});

test("a disk is found by its UUID beside it, and what may not answer is not looked at", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const served = await servedLoop(box);
  await served.silence();
  const { uuid } = superblockFacts(disk.image);
  const report = await up(box, "--device", `uuid=${uuid}`);
  expect(report.device).toBe(disk.device);
  expect(report.ms).toBeLessThan(LIMIT_MS);
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--device", `uuid=${uuid}`);
  const args = ["--device", `uuid=${crypto.randomUUID()}`, "--wait", "0"];
  const error = await fails(volume(box, "plan", args), "device-missing");
  expect(error.message).toContain(`${served.device} (on fuse: not looked at`);
  expect(error.report.ms).toBeLessThan(LIMIT_MS);
});

test("one that answers is a disk as any other, by its path", async () => {
  const box = sandbox();
  const served = await servedLoop(box);
  const { uuid } = await up(box, "--device", served.device);
  await down(box, "--device", served.device);
  const named = ["--device", `uuid=${uuid}`, "--wait", "0"];
  const error = await fails(volume(box, "up", named), "device-missing");
  expect(error.message).toContain(`${served.device} (on fuse: not looked at, name it by its path)`);
  expect((await up(box, "--device", served.device)).uuid).toBe(uuid);
  await down(box, "--device", served.device);
});
