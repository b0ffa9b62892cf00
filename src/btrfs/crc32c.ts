import { Crc32c } from "@aws-crypto/crc32c";

/** CRC-32C (Castagnoli) of the bytes. */
export function crc32c(data: Uint8Array): number {
  return new Crc32c().update(data).digest() >>> 0;
}
