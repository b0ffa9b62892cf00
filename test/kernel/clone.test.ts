import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up } from "../kit/agent.ts";
import { copySparse } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

/** A volume that is mounted, and a copy of its disk. */
async function copied(box: Sandbox): Promise<{ readonly copy: Disk; readonly uuid: string }> {
  const disk = await preparedDisk(box);
  const image = box.path("copy.img");
  copySparse(disk.image, image);
  box.mount(disk.device, "original");
  return { copy: { image, device: box.attach(image) }, uuid: superblockFacts(image).uuid };
}

test("a copy of a mounted volume has the UUID of its disk in every report, with a note", async () => {
  const box = sandbox();
  const { copy, uuid } = await copied(box);
  const args = ["--device", copy.device];
  const first = await up(box, ...args);
  const reports = [
    first,
    await up(box, ...args),
    await plan(box, ...args),
    await status(box, args),
    await down(box, ...args),
  ];
  const temporary = /mounted as ([0-9a-f-]{36})/.exec(first.notes.join())?.[1] ?? "";
  expect(temporary).not.toBe(uuid);
  for (const report of reports) {
    expect(report.uuid).toBe(uuid);
    expect(report.notes.join("\n")).toContain(temporary);
  }
  expect(existsSync(join("/sys/fs/btrfs", temporary))).toBeFalse();
});

test("the original, which has its own, is told nothing of it", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const { uuid } = superblockFacts(disk.image);
  const args = ["--device", disk.device];
  await up(box, ...args);
  for (const report of [
    await up(box, ...args),
    await plan(box, ...args),
    await status(box, args),
  ]) {
    expect(report).toMatchObject({ uuid, notes: [] });
  }
  expect(await down(box, ...args)).toMatchObject({ uuid, notes: [] });
});
