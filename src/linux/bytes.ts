import { crc32c, firstNonZero, holdsAt } from "#native";

export { crc32c, holdsAt };

export const areEqual = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && holdsAt(one, other, 0);

/** Offset of the first byte that is not zero; null when there is none. */
export function firstNonZeroByte(bytes: Uint8Array): number | null {
  const at = firstNonZero(bytes);
  return at < 0 ? null : at;
}

export const isAllZero = (bytes: Uint8Array): boolean => firstNonZero(bytes) < 0;
