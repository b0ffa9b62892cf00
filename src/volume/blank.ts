import { mirrorOffsets } from "../btrfs/superblock.ts";
import { firstNonZeroByte } from "../linux/bytes.ts";
import type { Progress } from "./context.ts";
import type { Disk } from "./disk.ts";
import { intentOffset } from "./intent.ts";
import type { Range } from "./mkfs-ranges.ts";
import { sizeText } from "./size.ts";

/**
 * Is this disk proven to be blank? Reading all of 8 TiB takes hours, so a disk is asked
 * where every known filesystem leaves a trace, and at places spread over all of it: whatever lies on
 * a 256th of the disk in one piece is found. A file knows where it has data; its holes are not taken
 * at its word alone, for a filesystem may forget data there (FUSE, OpenZFS #15526), but all that it
 * calls data is read as well.
 */

const kib = 1024;
const mib = 1024 * kib;
const gib = 1024 * mib;
const blockBytes = 4 * kib;
const usualHeadBytes = 2 * mib;
const tailBytes = mib;
const sampleCount = 256;

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

const endsOf = (sizeBytes: number, headBytes: number): readonly [head: Range, tail: Range] => [
  [0, Math.min(headBytes, sizeBytes)],
  [Math.max(0, sizeBytes - tailBytes), sizeBytes],
];

/** The blocks between the ends of the disk that are looked at, in order. */
function samplesOf(sizeBytes: number): Range[] {
  const tail = sizeBytes - tailBytes;
  const offsets = [
    ...mirrorOffsets,
    intentOffset,
    ...extBackups(sizeBytes),
    ...xfsBackups(sizeBytes),
  ];
  for (let i = 0; i < sampleCount; i++) offsets.push(((i + 0.5) * sizeBytes) / sampleCount);
  const ranges: Range[] = [];
  let last = -1;
  // A typed array sorts numbers natively.
  for (const offset of Float64Array.from(offsets).sort()) {
    const start = offset - (offset % blockBytes);
    if (start < usualHeadBytes || start >= tail || start === last) continue;
    ranges.push([start, Math.min(start + blockBytes, tail)]);
    last = start;
  }
  return ranges;
}

const chunkBytes = 256 * kib;

/** How thorough a look is: `ends` leaves out what is between them. */
export type Extent = "all" | "ends";

/** How to look for something other than zeros. */
export interface Look {
  /** By default `all`. */
  readonly extent?: Extent;
  /** How much of the head is read; by default 2 MiB. */
  readonly headBytes?: number;
  /** What may hold anything, in no order. */
  readonly except?: readonly Range[];
  /** Told when there is much to read. */
  readonly progress?: Progress;
}

/** What of a range lies in none of the others. */
const without = (whole: Range, except: readonly Range[]): readonly Range[] =>
  except.reduce<readonly Range[]>(
    (left, [from, to]) =>
      left
        .flatMap(([start, end]): Range[] => [
          [start, Math.min(end, from)],
          [Math.max(start, to), end],
        ])
        .filter(([start, end]) => start < end),
    [whole],
  );

/** Offset of the first byte found that is not zero, or null: nothing but zeros was found. */
export function firstNonZero(disk: Disk, look: Look = {}): number | null {
  const { except = [], progress } = look;
  const chunk = new Uint8Array(new ArrayBuffer(chunkBytes));
  let readBytes = 0;
  let toldBytes = gib;
  const firstIn = ([start, end]: Range): number | null => {
    for (let at = start; at < end; at += chunkBytes) {
      const length = Math.min(chunkBytes, end - at);
      const found = firstNonZeroByte(disk.read(at, length, chunk));
      if (found !== null) return at + found;
      readBytes += length;
      if (readBytes < toldBytes) continue;
      progress?.(`read ${sizeText(readBytes)} of zeros, to see whether there is anything else`);
      toldBytes *= 2;
    }
    return null;
  };
  for (const whole of rangesOf(disk, look)) {
    for (const range of except.length === 0 ? [whole] : without(whole, except)) {
      const found = firstIn(range);
      if (found !== null) return found;
    }
  }
  return null;
}

function* rangesOf(
  disk: Disk,
  { extent = "all", headBytes = usualHeadBytes }: Look,
): Generator<Range> {
  // Samples of the larger disk would not be where the smaller one has its end and its backups.
  const { sizeBytes } = disk.grownFrom ?? disk;
  // Nearly every disk that is not blank shows it at one of its ends.
  yield* endsOf(sizeBytes, headBytes);
  if (extent === "ends") return;
  const samples = samplesOf(sizeBytes);
  for (const [start, end] of samples) disk.readAhead?.(start, end - start);
  yield* samples;
  if (disk.dataRanges !== undefined) yield* disk.dataRanges();
}
