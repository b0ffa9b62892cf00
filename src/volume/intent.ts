import { checksumOf } from "../btrfs/checksum.ts";
import { mirrorOffsets } from "../btrfs/superblock.ts";
import { holdsAt } from "../linux/bytes.ts";
import { SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { raw, struct, u64 } from "../linux/struct.ts";
import { utf8 } from "../linux/text.ts";
import type { Disk } from "./disk.ts";
import { writeDurably } from "./write.ts";

/**
 * The intent record: one 4 KiB block that says "a format of ours began here". When mkfs.btrfs is
 * killed half-way the record is what tells the wreck from somebody's data. It is on the disk from
 * before mkfs starts until after it succeeded.
 */
export const intentBytes = 4096;

/**
 * Where the record stands: 32 KiB behind the start of the superblock's first mirror. Btrfs keeps the 64 KiB
 * that begin at a mirror free on every device (fs/btrfs/block-group.c, exclude_super_stripes), and mkfs.btrfs
 * writes nothing there but the mirror itself, so no file can ever pretend to be a record.
 */
export const intentOffset = mirrorOffsets[0] + 32 * 1024;

/** The least device that has a place for the record. */
export const leastIntentDeviceBytes = mirrorOffsets[0] + 64 * 1024;

/**
 * Our own format. All of it, its checksum included, lies in the first sector, which a disk
 * writes as a whole: a power cut leaves the record or what was there before.
 */
const sectorBytes = 512;
const magicOffset = 32;
const record = struct(sectorBytes, {
  checksum: raw(0, 32),
  magic: raw(magicOffset, 16),
  deviceBytes: u64(48),
  id: raw(56, 16),
});
const magic = utf8("arcbox-format-v1");
const crc32c = 0;

/** The block that announces a format of a device of this size; `id` is 16 random bytes. */
export function encodeIntent(deviceBytes: number, id: Uint8Array): Uint8Array {
  const sector = record.encode({ magic, deviceBytes: BigInt(deviceBytes), id });
  record.patch(sector, { checksum: checksumOf(sector, crc32c) ?? new Uint8Array() });
  const block = new Uint8Array(new ArrayBuffer(intentBytes));
  block.set(sector);
  return block;
}

/**
 * The size that the disk had when a format of ours began on it, in bytes; null without an intact record. The
 * disk may have grown since. A record of a larger disk is not this disk's.
 */
export function intendedBytes(disk: Disk): number | null {
  const sector = disk.read(intentOffset, sectorBytes);
  // A cheap look first: on a warm boot the checksum is not computed for nothing.
  if (sector.length < sectorBytes) return null;
  if (!holdsAt(sector, magic, magicOffset)) return null;
  const { deviceBytes, id } = record.decode(sector);
  if (deviceBytes < leastIntentDeviceBytes || deviceBytes > disk.sizeBytes) return null;
  const bytes = Number(deviceBytes);
  return holdsAt(encodeIntent(bytes, id), sector, 0) ? bytes : null;
}

export const hasIntent = (disk: Disk): boolean => intendedBytes(disk) !== null;

/**
 * The same beside an intact Btrfs, where a place that cannot be read has no record that anybody could use. An error that
 * passes would leave one there until the next boot, so it is asked twice.
 */
export function hasIntentBeside(disk: Disk, isLastTry = false): boolean {
  try {
    return hasIntent(disk);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return isLastTry ? false : hasIntentBeside(disk, true);
  }
}

/** Takes the record away. What is no record is not written over. */
export function clearIntent(kernel: Kernel, device: number, disk: Disk): void {
  if (!hasIntent(disk)) return;
  writeDurably(kernel, device, [[intentOffset, new Uint8Array(intentBytes)]]);
}
