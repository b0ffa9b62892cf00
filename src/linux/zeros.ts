/** Compared with, in pieces of this size; made when the first comparison comes. */
const chunkBytes = 64 * 1024;
let zeros: Buffer | undefined;

/** Offset of the first byte that is not zero; null when there is none. By memcmp(3), not byte for byte. */
export function firstNonZeroByte(bytes: Uint8Array): number | null {
  zeros ??= Buffer.alloc(chunkBytes);
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    const end = Math.min(start + chunkBytes, bytes.length);
    if (zeros.compare(bytes, start, end, 0, end - start) === 0) continue;
    return start + bytes.subarray(start, end).findIndex((byte) => byte !== 0);
  }
  return null;
}

export const isAllZero = (bytes: Uint8Array): boolean => firstNonZeroByte(bytes) === null;
