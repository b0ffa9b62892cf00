import { buf } from "crc-32/crc32c.js";

/** CRC-32C (Castagnoli) of the bytes. */
export const crc32c = (data: Uint8Array): number => buf(data) >>> 0;
