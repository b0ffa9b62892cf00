import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { agent, down, fails, up, volume } from "../kit/agent.ts";
import { compiled } from "../kit/compiled.ts";
import { GiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { dockerOf, expectMounted, filesystemGone } from "../kit/volume.ts";

const sandbox = useSandbox();

async function mountedVolume(
  box: Sandbox,
): Promise<{ device: string; uuid: string; file: string }> {
  const { device } = box.disk(GiB);
  const { uuid } = await up(box, "--device", device);
  const file = join(dockerOf(box), "file");
  writeFileSync(file, "text");
  return { device, uuid: uuid ?? "", file };
}

/** Ways to keep a mount in use that the first look at a process does not show, and whether they can be named. */
const modes: readonly (readonly [mode: string, isNamed: boolean])[] = [
  ["thread-cwd", true],
  ["thread-fd", true],
  ["zombie-leader", true],
  ["map", true],
  ["in-flight", false],
  ["io-uring", false],
];

test.each(modes)("held by %s, all six mounts stay; named: %p", async (mode, isNamed) => {
  const box = sandbox();
  const { device, uuid, file } = await mountedVolume(box);
  const path = mode === "thread-cwd" ? dockerOf(box) : file;
  const child = await box.spawnUntilReady([compiled(box, "hold"), mode, path]);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(isNamed ? `process ${child.pid} (hold)` : dockerOf(box));
  expect(message).not.toContain("namespace");
  expectMounted(box.root);
  child.kill("SIGKILL");
  await child.exited;
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
});

test("the command itself may be what keeps it in use", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const args = ["volume", "down", "--root", box.root, "--device", device];
  const run = await agent(args, { cwd: dockerOf(box) });
  expect([run.exitCode, run.stderr]).toEqual([8, expect.stringContaining("this command itself")]);
  expectMounted(box.root);
  await down(box, "--device", device);
});

test("a copy of the mounts that stays behind: the mounts here are gone, and it is said who has it", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  const argv = ["unshare", "--mount", "--propagation", "private"] as const;
  const child = await box.spawnUntilReady([...argv, "sh", "-c", "echo ready; exec sleep 1000"]);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(`process ${child.pid}`);
  expect(message).toContain("in another mount namespace");
  expect(message).toContain("the mounts here are gone");
  expect(filesystemGone(uuid)).toBeFalse();
  const again = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(again.message).toContain(`process ${child.pid}`);
  child.kill("SIGKILL");
  await child.exited;
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
});

test("who works in such a copy uses the volume, and all six mounts stay", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c"] as const;
  const script = `cd ${dockerOf(box)}; echo ready; exec sleep 1000`;
  const child = await box.spawnUntilReady([...argv, script]);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(`process ${child.pid}`);
  expectMounted(box.root);
});

test("a thread's own mount namespace is looked into, too", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  const child = await box.spawnUntilReady([compiled(box, "hold"), "thread-namespace", "/"]);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(`process ${child.pid}`);
  child.kill("SIGKILL");
  await child.exited;
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
});
