import { Crc32c } from "@aws-crypto/crc32c";
import { blake2b } from "@noble/hashes/blake2.js";
import { sha256 } from "@noble/hashes/sha2.js";
import xxhash from "xxhashjs";

/** What a superblock's checksum covers: everything behind the 32 bytes that hold it. */
const coveredFrom = 32;

const little = (value: bigint, bytes: number): Uint8Array => {
  const digest = new Uint8Array(bytes);
  new DataView(digest.buffer).setBigUint64(0, value, true);
  return digest;
};

const crc32c = (data: Uint8Array): number => new Crc32c().update(data).digest() >>> 0;

/** It takes an ArrayBuffer as bytes, and gives the sum in hexadecimal. */
const xxhash64 = (data: Uint8Array): bigint =>
  BigInt(`0x${xxhash.h64(data.slice().buffer, 0).toString(16)}`);

/** uapi/linux/btrfs_tree.h, enum btrfs_csum_type: name, and the digest as it stands on the disk. */
const algorithms = [
  {
    name: "crc32c",
    digest: (data: Uint8Array) => little(BigInt(crc32c(data)), 8).subarray(0, 4),
  },
  { name: "xxhash64", digest: (data: Uint8Array) => little(xxhash64(data), 8) },
  { name: "sha256", digest: sha256 },
  { name: "blake2b", digest: (data: Uint8Array) => blake2b(data, { dkLen: 32 }) },
] as const;

/** The name of a checksum type; undefined when this program does not know it. */
export const checksumName = (type: number): string | undefined => algorithms[type]?.name;

/**
 * The checksum that a 4096-byte superblock of this type must carry in its first
 * bytes: 4 for crc32c, 8 for xxhash64, 32 for the others. null for an unknown type.
 */
export function checksumOf(block: Uint8Array, type: number): Uint8Array | null {
  return algorithms[type]?.digest(block.subarray(coveredFrom)) ?? null;
}
