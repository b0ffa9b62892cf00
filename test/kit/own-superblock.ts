import { createHash } from "node:crypto";

/**
 * The superblock as uapi/linux/btrfs_tree.h has it, read without anything of src: what the tests of
 * the verdict hold it against.
 */

const KiB = 1024;
const MiB = 1024 * KiB;
export const superblockBytes = 4 * KiB;
export const primaryPlace = 64 * KiB;
export const mirrorPlaces = [64 * MiB, 256 * 1024 * MiB] as const;
export const copyPlaces = [primaryPlace, ...mirrorPlaces] as const;

/** [offset, width] of what tests change, in bytes. */
export const fields = {
  checksum: [0, 32],
  fsid: [32, 16],
  bytenr: [48, 8],
  flags: [56, 8],
  magic: [64, 8],
  generation: [72, 8],
  root: [80, 8],
  chunkRoot: [88, 8],
  logRoot: [96, 8],
  logRootTransid: [104, 8],
  totalBytes: [112, 8],
  bytesUsed: [120, 8],
  rootDirectory: [128, 8],
  deviceCount: [136, 8],
  sectorSize: [144, 4],
  nodeSize: [148, 4],
  leafSize: [152, 4],
  stripeSize: [156, 4],
  chunkArrayBytes: [160, 4],
  chunkRootGeneration: [164, 8],
  compat: [172, 8],
  compatReadOnly: [180, 8],
  incompat: [188, 8],
  checksumType: [196, 2],
  rootLevel: [198, 1],
  chunkRootLevel: [199, 1],
  logRootLevel: [200, 1],
  deviceId: [201, 8],
  deviceBytes: [209, 8],
  deviceBytesUsed: [217, 8],
  deviceIoAlign: [225, 4],
  deviceSectorSize: [233, 4],
  deviceType: [237, 8],
  deviceGeneration: [245, 8],
  deviceUuid: [267, 16],
  deviceFsid: [283, 16],
  label: [299, 256],
  cacheGeneration: [555, 8],
  uuidTreeGeneration: [563, 8],
  metadataUuid: [571, 16],
  reserved: [612, 199],
  chunkArray: [811, 2048],
  backupRoots: [2859, 672],
  padding: [3531, 565],
} as const satisfies Readonly<Record<string, readonly [number, number]>>;

export type FieldName = keyof typeof fields;

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f63b78 : 0);
  return crc;
});

/** RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

const littleEndian = (value: bigint, width: number): Uint8Array =>
  Uint8Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));

/** enum btrfs_csum_type: crc32c, xxhash64, sha256, blake2b-256. */
const digests = [
  (data: Uint8Array) => littleEndian(BigInt(crc32c(data)), 4),
  (data: Uint8Array) => littleEndian(Bun.hash.xxHash64(data, 0n), 8),
  (data: Uint8Array) => new Uint8Array(createHash("sha256").update(data).digest()),
  (data: Uint8Array) => new Uint8Array(new Bun.CryptoHasher("blake2b256").update(data).digest()),
] as const;
export const checksumTypes = digests.length;

/** The unsigned number in a field of 8 bytes or fewer. */
export function number(block: Uint8Array, name: FieldName): bigint {
  const [offset, width] = fields[name];
  let value = 0n;
  for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(block[offset + i] ?? 0);
  return value;
}

export const bytesIn = (block: Uint8Array, name: FieldName): Uint8Array =>
  block.subarray(fields[name][0], fields[name][0] + fields[name][1]);

/** A copy with this number in a field, the upper bits cut off where they do not fit. */
export function withNumber(block: Uint8Array, name: FieldName, value: bigint): Uint8Array {
  const [offset, width] = fields[name];
  const changed = block.slice();
  changed.set(
    littleEndian(BigInt.asUintN(8 * Math.min(width, 8), value), Math.min(width, 8)),
    offset,
  );
  return changed;
}

/** A copy whose checksum is right for its bytes; of an unknown type as it is. */
export function sealed(block: Uint8Array): Uint8Array {
  const digest = digests[Number(number(block, "checksumType"))];
  const changed = block.slice();
  if (digest === undefined) return changed;
  changed.fill(0, 0, 32).set(digest(block.subarray(32)));
  return changed;
}

export const superblockMagic = new TextEncoder().encode("_BHRfS_M");

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** What the kernel asks of a superblock before anything else: magic, own address, checksum. */
export function isSound(block: Uint8Array, place: number): boolean {
  if (block.length !== superblockBytes) return false;
  if (!equal(bytesIn(block, "magic"), superblockMagic)) return false;
  if (number(block, "bytenr") !== BigInt(place)) return false;
  const digest = digests[Number(number(block, "checksumType"))]?.(block.subarray(32));
  return digest !== undefined && equal(block.subarray(0, digest.length), digest);
}
