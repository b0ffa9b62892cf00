import { checksumOf } from "../btrfs/checksum.ts";
import { mirrorOffsets } from "../btrfs/superblock.ts";
import { holdsAt } from "../linux/bytes.ts";
import type { Kernel } from "../linux/kernel.ts";
import { raw, struct, u64 } from "../linux/struct.ts";
import { utf8 } from "../linux/text.ts";
import type { Disk } from "./disk.ts";
import { writeDurably } from "./write.ts";

/**
 * The intent record: one 4 KiB block in the middle of the device that says "a format of
 * ours began here". mkfs.btrfs writes nothing there, so when it is killed half-way the
 * record is what tells the wreck from somebody's data. It is on the disk from before
 * mkfs starts until after it succeeded.
 */
export const intentBytes = 4096;

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

/** Some way off, when the middle of the device is where a mirror of the superblock stands. */
const sidestepBytes = 1024 * 1024;

/** Where the record stands on a device of this size: in the middle, but never on a superblock. */
export function intentOffset(deviceBytes: number): number {
  const middle = Math.floor(deviceBytes / 2 / intentBytes) * intentBytes;
  const isNear = (offset: number): boolean => Math.abs(offset - middle) < sidestepBytes;
  return mirrorOffsets.some(isNear) ? middle + sidestepBytes : middle;
}

/** The block that announces a format of a device of this size; `id` is 16 random bytes. */
export function encodeIntent(deviceBytes: number, id: Uint8Array): Uint8Array {
  const sector = record.encode({ magic, deviceBytes: BigInt(deviceBytes), id });
  record.patch(sector, { checksum: checksumOf(sector, crc32c) ?? new Uint8Array() });
  const block = new Uint8Array(new ArrayBuffer(intentBytes));
  block.set(sector);
  return block;
}

/** True when an intact record for just this device size stands in the middle of the disk. */
export function hasIntent(disk: Disk): boolean {
  const sector = disk.read(intentOffset(disk.sizeBytes), sectorBytes);
  // A cheap look first: on a warm boot the checksum is not computed for nothing.
  if (sector.length < sectorBytes) return false;
  if (!holdsAt(sector, magic, magicOffset)) return false;
  return holdsAt(encodeIntent(disk.sizeBytes, record.decode(sector).id), sector, 0);
}

/** Takes the record away. */
export function clearIntent(kernel: Kernel, device: number, deviceBytes: number): void {
  writeDurably(kernel, device, [[intentOffset(deviceBytes), new Uint8Array(intentBytes)]]);
}
