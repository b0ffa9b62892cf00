import { mirrorOffsets } from "../btrfs/superblock.ts";
import { firstNonZeroByte } from "../linux/bytes.ts";
import type { Disk } from "./disk.ts";

/**
 * Is this disk proven to be blank? Reading all of 8 TiB takes hours, so a device is asked
 * where every known filesystem leaves a trace, and at places spread over all of it. An
 * image file knows where it has data, so there the answer is exact.
 */

const kib = 1024;
const mib = 1024 * kib;
const gib = 1024 * mib;
const blockBytes = 4 * kib;
const headBytes = 2 * mib;
const tailBytes = mib;
const sampleCount = 256;

type Range = readonly [start: number, end: number];

/** ext2/3/4 with sparse_super keep copies in the groups 1 and the powers of 3, 5 and 7. */
function extBackups(sizeBytes: number): number[] {
  const offsets: number[] = [];
  // A group has 8 blocks per byte of its one bitmap block; with 1 KiB blocks they start at block 1.
  for (const block of [1 * kib, 2 * kib, 4 * kib, 64 * kib]) {
    const groupBytes = block * 8 * block;
    const first = block === kib ? kib : 0;
    for (const base of [3, 5, 7]) {
      for (let g = 1; g * groupBytes < sizeBytes; g *= base) offsets.push(g * groupBytes + first);
    }
  }
  return offsets;
}

/** XFS keeps a copy at the start of each allocation group: 4 of them, or 1 TiB each, or striped. */
function xfsBackups(sizeBytes: number): number[] {
  const offsets: number[] = [];
  for (const groups of [4, 8, 16, 32]) {
    // The group size is the disk's share in blocks, rounded either way.
    const share = sizeBytes / groups / blockBytes;
    for (let i = 1; i < groups; i++) {
      offsets.push(Math.floor(share) * i * blockBytes, Math.ceil(share) * i * blockBytes);
    }
  }
  for (let offset = 1024 * gib; offset < sizeBytes; offset += 1024 * gib) offsets.push(offset);
  return offsets;
}

const endsOf = (sizeBytes: number): readonly [head: Range, tail: Range] => [
  [0, Math.min(headBytes, sizeBytes)],
  [Math.max(0, sizeBytes - tailBytes), sizeBytes],
];

/** The blocks between the ends of the disk that are looked at, in order. */
function samplesOf(sizeBytes: number): Range[] {
  const tail = sizeBytes - tailBytes;
  const offsets = [...mirrorOffsets, ...extBackups(sizeBytes), ...xfsBackups(sizeBytes)];
  for (let i = 0; i < sampleCount; i++) offsets.push(((i + 0.5) * sizeBytes) / sampleCount);
  const places = new Set(offsets.map((offset) => Math.floor(offset / blockBytes) * blockBytes));
  const between = [...places].filter((start) => start >= headBytes && start < tail);
  // A typed array sorts numbers natively.
  return Array.from(new Float64Array(between).sort(), (start) => [
    start,
    Math.min(start + blockBytes, tail),
  ]);
}

const chunkBytes = 256 * kib;

function firstNonZeroIn(disk: Disk, [start, end]: Range, chunk: Uint8Array): number | null {
  for (let at = start; at < end; at += chunkBytes) {
    const found = firstNonZeroByte(disk.read(at, Math.min(chunkBytes, end - at), chunk));
    if (found !== null) return at + found;
  }
  return null;
}

/** How thorough a look is: `ends` leaves out the samples between them. */
export type Extent = "all" | "ends";

function* rangesOf(disk: Disk, extent: Extent): Generator<Range> {
  if (disk.dataRanges !== undefined) yield* disk.dataRanges();
  if (disk.dataRanges !== undefined && disk.isCached === undefined) return;
  // Samples of the larger disk would not be where the smaller one has its end and its backups.
  const { sizeBytes } = disk.grownFrom ?? disk;
  // Nearly every disk that is not blank shows it at one of its ends.
  yield* endsOf(sizeBytes);
  if (extent === "ends") return;
  const samples = samplesOf(sizeBytes);
  for (const [start, end] of samples) disk.readAhead?.(start, end - start);
  yield* samples;
}

/** Offset of the first byte found that is not zero, or null: the disk is blank. */
export function firstNonZero(disk: Disk, extent: Extent = "all"): number | null {
  const chunk = new Uint8Array(new ArrayBuffer(chunkBytes));
  for (const range of rangesOf(disk, extent)) {
    const found = firstNonZeroIn(disk, range, chunk);
    if (found !== null) return found;
  }
  return null;
}
