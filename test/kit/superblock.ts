import { GiB, KiB, MiB, readAt, writeAt } from "./image.ts";

export const PRIMARY = 64 * KiB;
export const MIRROR = 64 * MiB;
export const LAST_MIRROR = 256 * GiB;
const SUPERBLOCK_BYTES = 4096;

/** Places of the fields the tests damage or check (btrfs_super_block in btrfs_tree.h). */
export const at = {
  csum: 0,
  fsid: 32,
  bytenr: 48,
  flags: 56,
  magic: 64,
  generation: 72,
  root: 80,
  chunkRoot: 88,
  logRoot: 96,
  totalBytes: 112,
  numDevices: 136,
  sectorSize: 144,
  nodeSize: 148,
  sysChunkArraySize: 160,
  incompatFlags: 188,
  csumType: 196,
  rootLevel: 198,
  deviceId: 201,
  deviceBytes: 209,
  deviceUuid: 267,
  label: 299,
  sysChunkArray: 811,
  superRoots: 2859,
  padding: 3531,
  lastByte: 4095,
} as const;

const CASTAGNOLI = 0x82f63b78;

function crc32c(bytes: Uint8Array, seed = 0xffffffff): number {
  let crc = seed;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? CASTAGNOLI : 0);
  }
  return ~crc >>> 0;
}

export const readSuperblock = (image: string, place = PRIMARY): Buffer =>
  readAt(image, place, SUPERBLOCK_BYTES);

/** Edits a copy of the superblock and makes its checksum right again. */
export function editSuperblock(image: string, place: number, edit: (block: Buffer) => void): void {
  const block = readSuperblock(image, place);
  edit(block);
  block.fill(0, 0, 32);
  block.writeUInt32LE(crc32c(block.subarray(32)), 0);
  writeAt(image, place, block);
}

export interface SuperblockFacts {
  readonly uuid: string;
  readonly label: string;
  readonly generation: bigint;
  readonly logRoot: bigint;
  readonly deviceBytes: number;
  readonly deviceId: number;
}

export function superblockFacts(image: string, place = PRIMARY): SuperblockFacts {
  const block = readSuperblock(image, place);
  const hex = block.subarray(at.fsid, at.fsid + 16).toString("hex");
  const label = block.subarray(at.label, at.label + 256);
  return {
    uuid: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    label: label.subarray(0, label.indexOf(0)).toString(),
    generation: block.readBigUInt64LE(at.generation),
    logRoot: block.readBigUInt64LE(at.logRoot),
    deviceBytes: Number(block.readBigUInt64LE(at.deviceBytes)),
    deviceId: Number(block.readBigUInt64LE(at.deviceId)),
  };
}
