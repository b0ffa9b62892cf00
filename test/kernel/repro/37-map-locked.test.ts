import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fails, up, volume } from "../../kit/agent.ts";
import { compiled } from "../../kit/compiled.ts";
import { MiB } from "../../kit/image.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { dockerOf, filesystemGone, ourMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();
const LIMIT_MS = 5000;

/** A process whose memory map is locked for good: whoever reads its map_files or cmdline waits with it. */
async function withLockedMap(box: Sandbox): Promise<void> {
  const program = compiled(box, "fuse", "fuse map");
  await box.spawnUntilReady([program, "map", box.folder("map")]);
}

test("a process whose memory map is locked does not keep down from its work", async () => {
  const box = sandbox();
  const { device } = box.disk(256 * MiB);
  await withLockedMap(box);
  const { uuid } = await up(box, "--device", device);
  const { report, ms } = await volume(box, "down", ["--device", device]);
  expect(report.error).toBeNull();
  expect(ms).toBeLessThan(LIMIT_MS);
  expect(ourMounts(box)).toEqual([]);
  expect(filesystemGone(uuid ?? "")).toBeTrue();
});

test("nor from naming who has the volume in use, in time and with all mounts left", async () => {
  const box = sandbox();
  const { device } = box.disk(256 * MiB);
  await up(box, "--device", device);
  const before = ourMounts(box);
  await withLockedMap(box);
  const folder = join(dockerOf(box), "work");
  mkdirSync(folder);
  await box.spawnUntilReady(["sh", "-c", "echo ready; exec sleep 1000"], { cwd: folder });
  const run = await volume(box, "down", ["--device", device]);
  const { message } = await fails(Promise.resolve(run), "busy");
  expect(message).toContain("(sleep)");
  expect(run.ms).toBeLessThan(LIMIT_MS);
  expect(ourMounts(box)).toEqual(before);
});
