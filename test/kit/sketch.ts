import { Errno, SystemError } from "../../src/linux/errno.ts";
import type { Disk } from "../../src/volume/disk.ts";

/** A disk of any size as the few blocks of it that are not zero, for tests that need many of them. */
export interface Sketch {
  readonly sizeBytes: number;
  /** 4 KiB each, by their number. They are shared between sketches: `write` makes new ones. */
  readonly blocks: ReadonlyMap<number, Uint8Array>;
  /** A read that touches one of these fails with EIO. */
  readonly unreadable: readonly Span[];
  /** An image file, which knows where it holds data. */
  readonly isFile: boolean;
}

export type Span = readonly [start: number, end: number];

const blockBytes = 4096;

/** A million looks at empty disks must not make a million buffers. */
const zeros = new Uint8Array(1024 * 1024);

/** True of a MiB or less of zeros. */
export const isZero = (bytes: Uint8Array): boolean =>
  Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0;

/** The bytes of a sketch, whether they are readable or not; nothing behind its end. */
export function bytesOf(sketch: Sketch, offset: number, length: number): Uint8Array {
  const end = Math.max(offset, Math.min(offset + length, sketch.sizeBytes));
  const bytes = new Uint8Array(end - offset);
  for (const [start, block] of overlapping(sketch, offset, end)) {
    const from = Math.max(start, offset);
    const to = Math.min(start + blockBytes, end);
    bytes.set(block.subarray(from - start, to - start), from - offset);
  }
  return bytes;
}

function* overlapping(
  { blocks }: Sketch,
  from: number,
  to: number,
): Generator<readonly [start: number, block: Uint8Array]> {
  for (const [number, block] of blocks) {
    const start = number * blockBytes;
    if (start < to && from < start + blockBytes) yield [start, block];
  }
}

/** The sketch with these bytes at this offset; what lies outside of the disk is left out. */
export function write(sketch: Sketch, offset: number, bytes: Uint8Array): Sketch {
  const blocks = new Map(sketch.blocks);
  const end = Math.min(offset + bytes.length, sketch.sizeBytes);
  for (let at = Math.max(0, offset); at < end; ) {
    const number = Math.floor(at / blockBytes);
    const within = at - number * blockBytes;
    const part = bytes.subarray(at - offset, Math.min(end, (number + 1) * blockBytes) - offset);
    const block = blocks.get(number)?.slice() ?? new Uint8Array(blockBytes);
    block.set(part, within);
    if (isZero(block)) blocks.delete(number);
    else blocks.set(number, block);
    at += part.length;
  }
  return { ...sketch, blocks };
}

/** The same disk, larger or smaller. */
export function resized(sketch: Sketch, sizeBytes: number): Sketch {
  const blocks = new Map<number, Uint8Array>();
  for (const [number, block] of sketch.blocks) {
    const left = Math.min(blockBytes, sizeBytes - number * blockBytes);
    const kept = block.slice().fill(0, Math.max(0, left));
    if (!isZero(kept)) blocks.set(number, kept);
  }
  return { ...sketch, sizeBytes, blocks };
}

/** What a look at a disk cost. */
export interface Meter {
  reads: number;
  bytes: number;
  /** The longest single read that was asked for. */
  longest: number;
  failed: boolean;
}

/** Fails when somebody wrote into what a disk gave him to read. */
export function assertZerosIntact(): void {
  if (zeros.some((byte) => byte !== 0)) throw new Error("a reader wrote into the disk's own bytes");
}

/** The sketch as a disk that counts what is asked of it. */
export function diskOf(sketch: Sketch): { readonly disk: Disk; readonly meter: Meter } {
  const meter: Meter = { reads: 0, bytes: 0, longest: 0, failed: false };
  const { sizeBytes, unreadable, isFile } = sketch;
  const read = (offset: number, length: number): Uint8Array => {
    const end = Math.max(offset, Math.min(offset + length, sizeBytes));
    meter.reads += 1;
    meter.bytes += end - offset;
    meter.longest = Math.max(meter.longest, length);
    if (unreadable.some(([from, to]) => from < end && offset < to && offset < end)) {
      meter.failed = true;
      throw new SystemError("pread", Errno.EIO);
    }
    const isEmpty = overlapping(sketch, offset, end).next().done === true;
    return isEmpty && end - offset <= zeros.length
      ? zeros.subarray(0, end - offset)
      : bytesOf(sketch, offset, length);
  };
  return { meter, disk: { sizeBytes, read, ...(isFile && { dataRanges: () => extents(sketch) }) } };
}

/** As SEEK_DATA gives them: in order, whole blocks, the last one cut at the end of the file. */
const extents = ({ blocks, sizeBytes }: Sketch): Span[] =>
  [...blocks.keys()]
    .sort((a, b) => a - b)
    .map(
      (number) => [number * blockBytes, Math.min((number + 1) * blockBytes, sizeBytes)] as const,
    );
