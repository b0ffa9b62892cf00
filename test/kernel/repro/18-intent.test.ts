import { expect, test } from "bun:test";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { flush, GiB, KiB, MiB, readAt, writeAt, zeroAt } from "../../kit/image.ts";
import { depth } from "../../kit/depth.ts";
import { expectRefused } from "../../kit/refusal.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { MIRROR, PRIMARY } from "../../kit/superblock.ts";
import { intentRecord } from "../../kit/verdict-seeds.ts";
import { checkFilesystem, dockerOf, preparedDisk } from "../../kit/volume.ts";

const sandbox = useSandbox();
const SIZE = 256 * MiB;
const RECORD = MIRROR + 32 * KiB;

/** Fills what is left of the volume with blocks that are each a true record of a format of this disk. */
function fillWithRecords(path: string, sizeBytes: number): void {
  const record = intentRecord(sizeBytes, new Uint8Array(16).fill(7));
  const blocks = Buffer.concat(Array.from({ length: 256 }, () => record));
  const fd = openSync(path, "wx");
  try {
    for (;;) writeSync(fd, blocks);
  } catch (error) {
    expect(String(error)).toContain("ENOSPC");
  } finally {
    closeSync(fd);
  }
}

/** A volume that was filled with records; they are not compressed, and stand wherever a file can stand. */
async function fullOfRecords(box: Sandbox): Promise<Disk> {
  const disk = await preparedDisk(box, SIZE);
  await up(box, "--device", disk.device);
  const folder = dockerOf(box);
  command("btrfs", "property", "set", folder, "compression", "none");
  fillWithRecords(join(folder, "records"), SIZE);
  command("sync", "--file-system", folder);
  await down(box, "--device", disk.device);
  flush(disk.device);
  return disk;
}

const magicAt = (image: string, offset: number): string =>
  readAt(image, offset + 32, 16).toString("latin1");

test("a file full of records is left as it is, and stands in the middle but never at the record's place", async () => {
  const box = sandbox();
  const disk = await fullOfRecords(box);
  expect(magicAt(disk.image, SIZE / 2)).toBe("arcbox-format-v1");
  expect(magicAt(disk.image, RECORD)).not.toBe("arcbox-format-v1");
  const report = await up(box, "--device", disk.device);
  expect(report.verdict).toBe("btrfs");
  expect(report.steps.find(({ step }) => step === "filesystem")?.outcome).toBe("kept");
  await down(box, "--device", disk.device);
  command("btrfs", "check", "--check-data-csum", disk.device);
});

test("with both superblocks lost, a planted record formats nothing", async () => {
  const box = sandbox();
  const disk = await fullOfRecords(box);
  zeroAt(disk.image, 0, MIRROR + 6 * MiB);
  command("blockdev", "--flushbufs", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "unknown" });
});

test.each<[string, number]>([
  ["the first MiB", 200 * KiB],
  ["between the trees of a new filesystem", 3 * MiB],
  ["behind them", 45 * MiB],
  ["a sample", SIZE / 2 + SIZE / 512],
  ["the end", SIZE - 4096],
])("a record in its place proves nothing beside a byte in %s", async (_, offset) => {
  const box = sandbox();
  const disk = box.disk(SIZE);
  writeAt(disk.image, RECORD, intentRecord(SIZE, new Uint8Array(16)));
  writeAt(disk.image, offset, Buffer.alloc(512, 0x5a));
  command("blockdev", "--flushbufs", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "unknown" });
});

test("a record in its place alone is a format that was cut short, also on a disk that has grown since", async () => {
  for (const recorded of [GiB, SIZE]) {
    const box = sandbox();
    const disk = box.disk(GiB);
    writeAt(disk.image, RECORD, intentRecord(recorded, new Uint8Array(16)));
    command("blockdev", "--flushbufs", disk.device);
    const report = await up(box, "--device", disk.device);
    expect(report.verdict).toBe("interrupted");
    await down(box, "--device", disk.device);
  }
});

test("a record where an earlier program had it is not looked at", async () => {
  const box = sandbox();
  const disk = box.disk(SIZE);
  writeAt(disk.image, SIZE / 2, intentRecord(SIZE, new Uint8Array(16)));
  command("blockdev", "--flushbufs", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "unknown" });
});

test("the record's place keeps what is written to it, through mkfs, filling, emptying, balancing and filling again", () => {
  for (const sizeBytes of depth([512 * MiB], [512 * MiB, GiB, 5 * GiB])) {
    const box = sandbox();
    const { image, device } = box.disk(sizeBytes);
    const mark = Buffer.alloc(28 * KiB, "the place of the record ");
    writeAt(image, RECORD, mark);
    command("blockdev", "--flushbufs", device);
    command("mkfs.btrfs", "--quiet", "--force", "--nodiscard", device);
    const top = box.mount(device, `whole-${sizeBytes}`);
    const fill = (mebibytes: number): void => {
      const write = `dd if=/dev/urandom of='${top}/f' bs=1M count=${mebibytes} status=none || true`;
      command("sh", "-c", `${write}; sync -f '${top}'`);
    };
    // Not to the end yet: a balance needs room for a chunk.
    fill(sizeBytes / 2 / MiB);
    command("rm", `${top}/f`);
    command("sync", "--file-system", top);
    command("btrfs", "balance", "start", "--full-balance", top);
    fill(sizeBytes / MiB);
    box.umount(top);
    flush(device);
    expect(readAt(image, RECORD, mark.length).equals(mark)).toBeTrue();
    expect(readAt(image, PRIMARY + 64, 8).toString()).toBe("_BHRfS_M");
    checkFilesystem({ image, device });
  }
});
