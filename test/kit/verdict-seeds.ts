import {
  bytesIn,
  copyPlaces,
  crc32c,
  type FieldName,
  fields,
  primaryPlace,
  sealed,
  superblockBytes,
  superblockMagic,
  withNumber,
} from "./own-superblock.ts";
import { bytesOf, type Sketch, write } from "./sketch.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

const blankSketch = (sizeBytes: number, isFile = false): Sketch => ({
  sizeBytes,
  blocks: new Map(),
  unreadable: [],
  isFile,
});

type Numbers = Partial<Record<FieldName, bigint | number>>;

/** A superblock of the filesystem `id` as mkfs makes it, with a checksum that is right. */
export function freshSuperblock(
  place: number,
  deviceBytes: number,
  id: number,
  numbers: Numbers = {},
): Uint8Array {
  let block: Uint8Array = new Uint8Array(superblockBytes);
  block.set(superblockMagic, fields.magic[0]);
  for (const name of ["fsid", "deviceFsid", "deviceUuid"] as const) {
    bytesIn(block, name).fill(name === "deviceUuid" ? id ^ 0xff : id);
  }
  block.set(new TextEncoder().encode("arcbox-data"), fields.label[0]);
  bytesIn(block, "chunkArray").subarray(0, 129).fill(0xc4);
  bytesIn(block, "backupRoots").fill(0xb2);
  const all: Numbers = {
    bytenr: place,
    flags: 1,
    generation: 9,
    root: 30 * MiB,
    chunkRoot: 22 * MiB,
    totalBytes: deviceBytes,
    bytesUsed: 147_456,
    deviceCount: 1,
    sectorSize: 4096,
    nodeSize: 16_384,
    leafSize: 16_384,
    stripeSize: 4096,
    chunkArrayBytes: 129,
    compatReadOnly: 3,
    incompat: 0x341,
    deviceId: 1,
    deviceBytes,
    ...numbers,
  };
  for (const name of Object.keys(fields) as FieldName[]) {
    const value = all[name];
    if (value !== undefined) block = withNumber(block, name, BigInt(value));
  }
  return sealed(block);
}

/** All copies that a disk of this size has (a copy needs room behind it). */
function withBtrfs(sketch: Sketch, id: number, numbers: Numbers = {}): Sketch {
  const { sizeBytes } = sketch;
  return copyPlaces
    .filter((place) => place + superblockBytes < sizeBytes)
    .reduce(
      (disk, place) => write(disk, place, freshSuperblock(place, sizeBytes, id, numbers)),
      sketch,
    );
}

/** Where the record of a format belongs: among the 64 KiB that Btrfs keeps free at its first mirror. */
export const intentPlace = 64 * MiB + 32 * KiB;

/** The record that says "a format of a disk of this size began here". */
export function intentRecord(sizeBytes: number, id: Uint8Array): Uint8Array {
  const block = new Uint8Array(4096);
  const view = new DataView(block.buffer);
  block.set(new TextEncoder().encode("arcbox-format-v1"), 32);
  view.setBigUint64(48, BigInt(sizeBytes), true);
  block.set(id, 56);
  view.setUint32(0, crc32c(block.subarray(32, 512)), true);
  return block;
}

/** Zeroes the first copy's magic, and nothing else. */
export const wipe = (sketch: Sketch): Sketch => write(sketch, primaryPlace + 64, new Uint8Array(8));

const zeroPrimary = (sketch: Sketch): Sketch =>
  write(sketch, primaryPlace, new Uint8Array(superblockBytes));

const flip = (sketch: Sketch, offset: number): Sketch =>
  write(sketch, offset, Uint8Array.of((bytesOf(sketch, offset, 1)[0] ?? 0) ^ 0x10));

const interrupted = (sketch: Sketch): Sketch =>
  write(sketch, intentPlace, intentRecord(sketch.sizeBytes, new Uint8Array(16).fill(7)));

const halfFormatted = (sketch: Sketch): Sketch =>
  interrupted(write(sketch, primaryPlace + 64, new TextEncoder().encode("!BHRfS_M")));

/** Every kind of disk that the contract knows, small, large and with each checksum. */
export function seedSketches(): readonly Sketch[] {
  const sizes = [GiB, 512 * GiB, 16 * TiB];
  const btrfs = sizes.map((size) => withBtrfs(blankSketch(size), 0xf5));
  const checksums = [1, 2, 3].map((type) =>
    withBtrfs(blankSketch(GiB), 0xa0 + type, { checksumType: type }),
  );
  const sound = [...btrfs, ...checksums];
  return [
    ...sound,
    ...sound.map(zeroPrimary),
    ...sound.map(wipe),
    ...sound.map((disk) => flip(disk, primaryPlace + 1000)),
    ...sound.map((disk) => flip(disk, primaryPlace + 40)),
    ...sizes.map((size) => withBtrfs(blankSketch(size), 0xf5, { deviceCount: 2 })),
    ...sizes.map((size) => withBtrfs(blankSketch(size), 0xf5, { deviceBytes: size + 512 })),
    ...sizes.map((size) =>
      withBtrfs(blankSketch(size), 0xf5, { logRoot: 31 * MiB, logRootLevel: 1 }),
    ),
    ...sizes.map((size) => blankSketch(size)),
    ...sizes.map((size) => interrupted(blankSketch(size))),
    ...sizes.map((size) => halfFormatted(blankSketch(size))),
    ...btrfs.map(interrupted),
    blankSketch(0),
    blankSketch(68 * KiB + 512),
    blankSketch(128 * MiB),
    blankSketch(GiB, true),
    { ...withBtrfs(blankSketch(GiB), 0xf5), isFile: true },
    write(blankSketch(GiB), 700 * MiB, new Uint8Array(512).fill(0x5a)),
    write(blankSketch(GiB, true), 700 * MiB, new Uint8Array(512).fill(0x5a)),
  ];
}
