import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "../kit/agent.ts";
import { command, tryCommand } from "../kit/command.ts";
import { MiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { dockerOf, ourMounts, preparedDisk, rawOf } from "../kit/volume.ts";

const sandbox = useSandbox();

/** A volume with more in memory than what its sparse image lies on has room for. */
async function overfullVolume(box: Sandbox): Promise<string> {
  const folder = box.mount("tmpfs", "small", "-t", "tmpfs", "-o", "size=64M");
  const image = join(folder, "disk.img");
  await up(box, "--image", image, "--size", "1G");
  writeFileSync(join(dockerOf(box), "lost"), randomBytes(96 * MiB));
  return image;
}

const stages: readonly [string, (box: Sandbox) => void, RegExp][] = [
  ["while down waits for it", () => undefined, /is on the disk: syncfs: E(IO|NOSPC)/],
  [
    "before, and the kernel has given up",
    (box) => tryCommand("sync", "--file-system", rawOf(box)),
    /is on the disk: (syncfs: EIO|the kernel had made it read-only)/,
  ],
];

test.each(stages)("what could not be written %s is said", async (_, prepare, note) => {
  const box = sandbox();
  const image = await overfullVolume(box);
  prepare(box);
  const report = await down(box, "--image", image);
  expect(ourMounts(box)).toBeEmpty();
  expect(report.notes.join()).toMatch(note);
  expect(JSON.stringify(report.steps)).not.toContain("clean");
});

test("a volume that somebody made read-only lost nothing", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  command("mount", "-o", "remount,ro", dockerOf(box));
  const report = await down(box, "--device", device);
  expect(report.notes).toBeEmpty();
  expect(JSON.stringify(report.steps)).toContain("clean");
});
