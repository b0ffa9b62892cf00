import { blake2b } from "@noble/hashes/blake2.js";
import { sha256 } from "@noble/hashes/sha2.js";
import xxhash from "xxhashjs";

/** It takes an ArrayBuffer as bytes, and gives the sum in hexadecimal. */
function xxhash64(data: Uint8Array): Uint8Array {
  const digest = new Uint8Array(8);
  const sum = BigInt(`0x${xxhash.h64(data.slice().buffer, 0).toString(16)}`);
  new DataView(digest.buffer).setBigUint64(0, sum, true);
  return digest;
}

/** By name, but that which nearly every volume has, the digest of each kind as it stands on the disk. */
export const digests = {
  xxhash64,
  sha256,
  blake2b: (data: Uint8Array) => blake2b(data, { dkLen: 32 }),
} as const;
