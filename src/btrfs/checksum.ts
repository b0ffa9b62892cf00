import { crc32c } from "../linux/bytes.ts";

/** What a superblock's checksum covers: everything behind the 32 bytes that hold it. */
const coveredFrom = 32;

/** uapi/linux/btrfs_tree.h, enum btrfs_csum_type */
const names = ["crc32c", "xxhash64", "sha256", "blake2b"] as const;

/** The name of a checksum type; undefined when this program does not know it. */
export const checksumName = (type: number): string | undefined => names[type];

function crc32cOf(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, crc32c(data), true);
  return bytes;
}

/** Loaded with the first of these, for few volumes have them, and a warm boot computes none: the kernel does, at mount. */
function digestOf(name: Exclude<(typeof names)[number], "crc32c">, data: Uint8Array): Uint8Array {
  const { digest } = require("./digests.ts") as typeof import("./digests.ts");
  return digest(name, data);
}

/**
 * The checksum that a 4096-byte superblock of this type must carry in its first
 * bytes: 4 for crc32c, 8 for xxhash64, 32 for the others. null for an unknown type.
 */
export function checksumOf(block: Uint8Array, type: number): Uint8Array | null {
  const name = names[type];
  if (name === undefined) return null;
  const data = block.subarray(coveredFrom);
  return name === "crc32c" ? crc32cOf(data) : digestOf(name, data);
}
