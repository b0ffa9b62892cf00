import { mirrorOffsets, primaryOffset, superblockBytes } from "../btrfs/superblock.ts";

const kib = 1024;
const mib = 1024 * kib;
const gib = 1024 * mib;

/** Bytes from the start up to the end. */
export type Range = readonly [start: number, end: number];

/**
 * Where the chunks begin that hold a tree block or a few: the temporary system and metadata chunks, both
 * copies of the system chunk, the first copy of the metadata chunk. Measured with btrfs-progs 6.2.
 */
const treeStarts = [1, 5, 21, 29, 37].map((mebibytes) => mebibytes * mib);
/** The second copy of the metadata, of DUP, lies one stripe behind the first. */
const metadataStart = 37 * mib;
/** The trees of a new filesystem take 12 nodes; of the largest, 64 KiB, they take 768 KiB. */
const treesBytes = mib;

/** All that mkfs writes but the second copy of the metadata and the mirrors lies in front of this. */
export const mkfsHeadBytes = 40 * mib;

/**
 * The size of a metadata stripe on a device of this size (btrfs-progs kernel-shared/volumes.c,
 * init_alloc_chunk_ctl): a tenth of the device for both copies, so half of that for each, a multiple of
 * 64 KiB and at least 32 MiB; where a tenth is more than the largest chunk, 256 MiB or on more than 50 GiB
 * 1 GiB, each copy has one of those.
 */
function metadataStripeBytes(deviceBytes: number): number {
  const share = deviceBytes / 10;
  const largest = deviceBytes > 50 * gib ? gib : 256 * mib;
  if (share >= largest) return largest;
  return Math.max(32 * mib, Math.floor(share / 2 / (64 * kib)) * 64 * kib);
}

/** Where mkfs.btrfs may leave something other than zeros on a device of this size that was all zeros. */
export function mkfsRanges(deviceBytes: number): readonly Range[] {
  const copy = metadataStart + metadataStripeBytes(deviceBytes);
  return [
    [primaryOffset, primaryOffset + superblockBytes],
    ...mirrorOffsets.map((offset): Range => [offset, offset + 64 * kib]),
    ...treeStarts.map((start): Range => [start, start + treesBytes]),
    // The stripe follows from what is left of the device, so it may be a little smaller than the share.
    [copy - treesBytes, copy + treesBytes],
  ];
}
