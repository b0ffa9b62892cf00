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

/** The digest of each kind as it stands on the disk, but for that which nearly every volume has. */
export function digest(name: "xxhash64" | "sha256" | "blake2b", data: Uint8Array): Uint8Array {
  switch (name) {
    case "xxhash64":
      return xxhash64(data);
    case "sha256":
      return sha256(data);
    case "blake2b":
      return blake2b(data, { dkLen: 32 });
  }
}
