import { mirrorOffsets, superblockBytes } from "../btrfs/superblock.ts";
import { firstNonZeroByte } from "../linux/zeros.ts";
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
function* extBackups(sizeBytes: number): Generator<number> {
  const groups = new Set<number>([1]);
  for (const base of [3, 5, 7]) for (let g = base; g < 2 ** 22; g *= base) groups.add(g);
  // A group has 8 blocks per byte of its one bitmap block; with 1 KiB blocks they start at block 1.
  for (const block of [1 * kib, 2 * kib, 4 * kib, 64 * kib]) {
    for (const group of groups) {
      const offset = group * block * 8 * block + (block === kib ? kib : 0);
      if (offset < sizeBytes) yield offset;
    }
  }
}

/** XFS keeps a copy at the start of each allocation group: 4 of them, or 1 TiB each, or striped. */
function* xfsBackups(sizeBytes: number): Generator<number> {
  for (const groups of [4, 8, 16, 32]) {
    for (let i = 1; i < groups; i++) {
      // The group size is the disk's share in blocks, rounded either way.
      const share = sizeBytes / groups / blockBytes;
      for (const blocks of new Set([Math.floor(share), Math.ceil(share)])) {
        yield blocks * i * blockBytes;
      }
    }
  }
  for (let offset = 1024 * gib; offset < sizeBytes; offset += 1024 * gib) yield offset;
}

function* sampledRanges(sizeBytes: number): Generator<Range> {
  yield [0, Math.min(headBytes, sizeBytes)];
  const tail = Math.max(0, sizeBytes - tailBytes);
  yield [tail, sizeBytes];
  const offsets = [...mirrorOffsets, ...extBackups(sizeBytes), ...xfsBackups(sizeBytes)];
  for (let i = 0; i < sampleCount; i++) {
    offsets.push(Math.floor(((i + 0.5) * sizeBytes) / sampleCount / blockBytes) * blockBytes);
  }
  const places = offsets.map((offset) => Math.floor(offset / blockBytes) * blockBytes);
  // A typed array sorts numbers natively.
  for (const start of Float64Array.from(new Set(places)).sort()) {
    if (start >= headBytes && start < tail) yield [start, Math.min(start + superblockBytes, tail)];
  }
}

const chunkBytes = mib;

function firstNonZeroIn(disk: Disk, [start, end]: Range): number | null {
  for (let at = start; at < end; at += chunkBytes) {
    const found = firstNonZeroByte(disk.read(at, Math.min(chunkBytes, end - at)));
    if (found !== null) return at + found;
  }
  return null;
}

function* rangesOf(disk: Disk): Generator<Range> {
  if (disk.dataRanges !== undefined) yield* disk.dataRanges();
  if (disk.dataRanges !== undefined && disk.isCached === undefined) return;
  // Samples of the larger disk would not be where the smaller one has its end and its backups.
  const [head, tail, ...samples] = sampledRanges((disk.grownFrom ?? disk).sizeBytes);
  // Nearly every disk that is not blank shows it at one of its ends.
  if (head !== undefined) yield head;
  if (tail !== undefined) yield tail;
  for (const [start, end] of samples) disk.readAhead?.(start, end - start);
  yield* samples;
}

/** Offset of the first byte found that is not zero, or null: the disk is blank. */
export function firstNonZero(disk: Disk): number | null {
  for (const range of rangesOf(disk)) {
    const found = firstNonZeroIn(disk, range);
    if (found !== null) return found;
  }
  return null;
}
