/** Bytes compared by memcmp(3), and not by a loop, which would be interpreted step for step. */
export const areEqual = (one: Uint8Array, other: Uint8Array): boolean =>
  Buffer.compare(one, other) === 0;

/** True when `data` holds all of `piece` from the offset `at` on; nothing lies before its beginning. */
export const holdsAt = (data: Uint8Array, piece: Uint8Array, at: number): boolean =>
  at >= 0 && areEqual(data.subarray(at, at + piece.length), piece);

/** Compared at once; where they differ, only so many are searched one by one. */
const chunkBytes = 64 * 1024;

/** Offset of the first byte that is not zero; null when there is none. */
export function firstNonZeroByte(bytes: Uint8Array): number | null {
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    const chunk = bytes.subarray(start, start + chunkBytes);
    // The first byte is zero, and each is like the one before it.
    if (chunk[0] === 0 && areEqual(chunk.subarray(1), chunk.subarray(0, -1))) continue;
    return start + chunk.findIndex((byte) => byte !== 0);
  }
  return null;
}

export const isAllZero = (bytes: Uint8Array): boolean => firstNonZeroByte(bytes) === null;
