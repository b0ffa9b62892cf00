import { areEqual, firstNonZero } from "#native";

export { areEqual };

/** True when `data` holds all of `piece` from the offset `at` on; nothing lies before its beginning. */
export const holdsAt = (data: Uint8Array, piece: Uint8Array, at: number): boolean =>
  at >= 0 && areEqual(data.subarray(at, at + piece.length), piece);

/** Offset of the first byte that is not zero; null when there is none. */
export function firstNonZeroByte(bytes: Uint8Array): number | null {
  const at = firstNonZero(bytes);
  return at < 0 ? null : at;
}

export const isAllZero = (bytes: Uint8Array): boolean => firstNonZero(bytes) < 0;
