import type { Space } from "../btrfs/space.ts";

const mebibyte = 1024n * 1024n;

/** fs/btrfs/super.c, btrfs_statfs(): less than this beyond the reserve is as good as none. */
const metadataMargin = 4n * mebibyte;
/** A new metadata chunk of the smallest size the allocator makes, twice for DUP. */
const leastMetadataChunk = 2n * 32n * mebibyte;

/** fs/btrfs/fs.h, BTRFS_DEVICE_RANGE_RESERVED: no chunk is ever made in a device's first MiB. */
const reservedBytes = mebibyte;

const sum = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);
const free = ({ totalBytes, usedBytes }: Space): bigint => totalBytes - usedBytes;
const of = (spaces: readonly Space[], ...types: readonly Space["type"][]): readonly Space[] =>
  spaces.filter(({ type }) => types.includes(type));

/**
 * Bytes of file data that can really still be written. Room in the data chunks, and what is not
 * allocated yet; but nothing at all when the metadata is full and no chunk can be added
 * to it, though df shows free space then.
 */
export function writableBytes(spaces: readonly Space[], unallocatedBytes: bigint): bigint {
  const allocatable = unallocatedBytes > reservedBytes ? unallocatedBytes - reservedBytes : 0n;
  const data = of(spaces, "data", "mixed");
  const metadata = of(spaces, "metadata", "mixed");
  const reserve = sum(of(spaces, "reserve").map(({ totalBytes }) => totalBytes));
  const isMetadataFull = sum(metadata.map(free)) - metadataMargin < reserve;
  if (isMetadataFull && allocatable < leastMetadataChunk) return 0n;
  const copies = BigInt(data[0]?.copies ?? 1);
  return sum(data.map(free)) + allocatable / copies;
}

/** Bytes that files and metadata use, whatever the profile counted once, as the superblock counts them. */
export const usedBytes = (spaces: readonly Space[]): bigint =>
  sum(of(spaces, "data", "metadata", "system", "mixed").map((space) => space.usedBytes));
