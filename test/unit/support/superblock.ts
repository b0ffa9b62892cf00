import { ascii, GiB, KiB, MiB, type Piece } from "./sparse-disk.ts";

/** uapi/linux/btrfs_tree.h, written down a second time so that a wrong table in src shows. */
export const primaryPlace = 64 * KiB;
export const mirrorPlace = 64 * MiB;
export const lastMirrorPlace = 256 * GiB;

/** Where the fields stand that tests damage. */
export const field = {
  checksum: 0,
  fsid: 32,
  address: 48,
  magic: 64,
  generation: 72,
  logRoot: 96,
  checksumType: 196,
  logRootLevel: 200,
  deviceItem: 201,
  deviceUuid: 267,
  deviceFsid: 283,
  label: 299,
} as const;

export interface Parts {
  readonly address: number;
  /** A byte that the whole UUID is made of. */
  readonly fsid: number;
  readonly deviceFsid: number;
  readonly deviceUuid: number;
  readonly magic: string;
  readonly generation: number;
  readonly logRoot: number;
  readonly logRootLevel: number;
  readonly deviceCount: number;
  readonly deviceBytes: number;
  readonly checksumType: number;
  readonly incompatFlags: number;
  readonly compatReadOnlyFlags: number;
}

const fresh: Parts = {
  address: primaryPlace,
  fsid: 0xf5,
  deviceFsid: 0xf5,
  deviceUuid: 0xd1,
  magic: "_BHRfS_M",
  generation: 6,
  logRoot: 0,
  logRootLevel: 0,
  deviceCount: 1,
  deviceBytes: GiB,
  checksumType: 0,
  incompatFlags: 0x341,
  compatReadOnlyFlags: 3,
};

/** The CRC of RFC 3720, bit by bit: nothing of the library that src uses. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** Makes the checksum of a block right for its bytes. */
export function seal(block: Uint8Array): Uint8Array {
  block.fill(0, 0, 32);
  new DataView(block.buffer, block.byteOffset).setUint32(0, crc32c(block.subarray(32)), true);
  return block;
}

/** A superblock as mkfs makes it, with a crc32c checksum that is right. */
export function superblock(parts: Partial<Parts> = {}): Uint8Array {
  const all = { ...fresh, ...parts };
  // The two fsids differ only where a test says so.
  const deviceFsid = parts.deviceFsid ?? all.fsid;
  const block = new Uint8Array(4096);
  const view = new DataView(block.buffer);
  const u64 = (offset: number, value: number): void =>
    view.setBigUint64(offset, BigInt(value), true);
  block.fill(all.fsid, field.fsid, field.fsid + 16);
  u64(field.address, all.address);
  u64(56, 1);
  block.set(ascii(all.magic), field.magic);
  u64(field.generation, all.generation);
  u64(field.logRoot, all.logRoot);
  u64(112, all.deviceBytes);
  u64(120, 147_456);
  u64(136, all.deviceCount);
  view.setUint32(144, 4096, true);
  view.setUint32(148, 16_384, true);
  u64(180, all.compatReadOnlyFlags);
  u64(188, all.incompatFlags);
  view.setUint16(field.checksumType, all.checksumType, true);
  block[field.logRootLevel] = all.logRootLevel;
  u64(field.deviceItem, 1);
  u64(field.deviceItem + 8, all.deviceBytes);
  block.fill(all.deviceUuid, field.deviceUuid, field.deviceUuid + 16);
  block.fill(deviceFsid, field.deviceFsid, field.deviceFsid + 16);
  block.set(ascii("arcbox-data"), field.label);
  // A chunk array and backup roots: bytes that mean something in a real one.
  block.fill(0xc4, 811, 940);
  block.fill(0xb2, 2859, 3531);
  return seal(block);
}

/** One copy at its place. */
export const copyAt = (address: number, parts: Partial<Parts> = {}): Piece => [
  address,
  superblock({ ...parts, address }),
];

/** All copies that a device of this size has. */
export const copiesOf = (deviceBytes: number, parts: Partial<Parts> = {}): Piece[] =>
  [primaryPlace, mirrorPlace, lastMirrorPlace]
    .filter((place) => place + 4096 < deviceBytes)
    .map((place) => copyAt(place, { deviceBytes, ...parts }));

/** A block with the bits of one byte turned over. */
export function flipped(block: Uint8Array, offset: number, bits = 0xff): Uint8Array {
  const copy = block.slice();
  copy[offset] = (copy[offset] ?? 0) ^ bits;
  return copy;
}

/** A block with this range set to one value. */
export const filled = (block: Uint8Array, start: number, length: number, value = 0): Uint8Array =>
  block.slice().fill(value, start, start + length);
