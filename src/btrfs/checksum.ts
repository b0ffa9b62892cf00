/** What a superblock's checksum covers: everything behind the 32 bytes that hold it. */
const coveredFrom = 32;

const little = (value: bigint, bytes: number): Uint8Array => {
  const digest = new Uint8Array(bytes);
  new DataView(digest.buffer).setBigUint64(0, value, true);
  return digest;
};

/** Loaded with the first checksum, for a warm boot computes none: the kernel does, at mount. */
function crc32c(data: Uint8Array): number {
  const { Crc32c } = require("@aws-crypto/crc32c") as typeof import("@aws-crypto/crc32c");
  return new Crc32c().update(data).digest() >>> 0;
}

/** uapi/linux/btrfs_tree.h, enum btrfs_csum_type: name, and the digest as it stands on the disk. */
const algorithms = [
  {
    name: "crc32c",
    digest: (data: Uint8Array) => little(BigInt(crc32c(data)), 8).subarray(0, 4),
  },
  { name: "xxhash64", digest: (data: Uint8Array) => little(Bun.hash.xxHash64(data, 0n), 8) },
  { name: "sha256", digest: (data: Uint8Array) => hash("sha256", data) },
  { name: "blake2b", digest: (data: Uint8Array) => hash("blake2b256", data) },
] as const;

const hash = (algorithm: "sha256" | "blake2b256", data: Uint8Array): Uint8Array =>
  new Uint8Array(new Bun.CryptoHasher(algorithm).update(data).digest());

/** The name of a checksum type; undefined when this program does not know it. */
export const checksumName = (type: number): string | undefined => algorithms[type]?.name;

/**
 * The checksum that a 4096-byte superblock of this type must carry in its first
 * bytes: 4 for crc32c, 8 for xxhash64, 32 for the others. null for an unknown type.
 */
export function checksumOf(block: Uint8Array, type: number): Uint8Array | null {
  return algorithms[type]?.digest(block.subarray(coveredFrom)) ?? null;
}
