import { Errno, SystemError } from "../../../src/linux/errno.ts";
import type { Disk } from "../../../src/volume/disk.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

export type Piece = readonly [offset: number, bytes: Uint8Array];
export type Range = readonly [start: number, end: number];

interface Content {
  readonly sizeBytes: number;
  /** Laid one over the other in this order; all else is zero. */
  readonly pieces?: readonly Piece[];
  /** A read that touches one of these fails with EIO. */
  readonly unreadable?: readonly Range[];
  /** Given for an image file: what of it holds data. */
  readonly dataRanges?: readonly Range[];
}

/** A disk in memory, of any size, that remembers where it was read. */
export interface SparseDisk extends Disk {
  readonly reads: readonly Range[];
}

const touches = ([start, end]: Range, from: number, to: number): boolean =>
  start < to && from < end;

export function sparseDisk(content: Content): SparseDisk {
  const { sizeBytes, pieces = [], unreadable = [], dataRanges } = content;
  const reads: Range[] = [];
  return {
    sizeBytes,
    reads,
    read(offset, length, into) {
      const end = Math.max(offset, Math.min(offset + length, sizeBytes));
      reads.push([offset, end]);
      if (unreadable.some((range) => touches(range, offset, end))) {
        throw new SystemError("pread", Errno.EIO, `${offset}`);
      }
      const wanted = end - offset;
      // As a real disk does it, so that a buffer that is kept though it is reused shows.
      const fits = into !== undefined && into.length >= wanted;
      const buffer = fits ? into.subarray(0, wanted).fill(0) : new Uint8Array(wanted);
      for (const [start, bytes] of pieces) {
        const from = Math.max(start, offset);
        const to = Math.min(start + bytes.length, end);
        if (from < to) buffer.set(bytes.subarray(from - start, to - start), from - offset);
      }
      return buffer;
    },
    ...(dataRanges === undefined ? {} : { dataRanges: () => dataRanges }),
  };
}

export const oneByte = (offset: number, value = 0x5a): Piece => [offset, Uint8Array.of(value)];

export const ascii = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0));

/** "c6 85 73": bytes as a header file writes them. */
export const hexBytes = (digits: string): Uint8Array =>
  Uint8Array.from(digits.split(" "), (byte) => Number.parseInt(byte, 16));
