import { Crc32c } from "@aws-crypto/crc32c";

export const crc32c = (data: Uint8Array): number => new Crc32c().update(data).digest() >>> 0;
