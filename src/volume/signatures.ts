import { utf8 } from "../linux/text.ts";

/**
 * Magic numbers of what may own a disk, at the places where each keeps them. Sources: the prober of
 * the same name in util-linux' libblkid (superblocks/, partitions/), and the on-disk headers of the
 * kernel. Which places count on which disk is decided in foreign.ts.
 */
export interface Signature {
  readonly name: string;
  readonly magic: Uint8Array;
  readonly offsets: readonly number[];
  /** A further look where the magic alone is too short to be sure. */
  readonly confirm?: (head: Uint8Array) => boolean;
}

const kib = 1024;
const bytes = (...values: number[]): Uint8Array => new Uint8Array(values);
const sign = (
  name: string,
  magic: string | Uint8Array,
  offsets: number | readonly number[],
  confirm?: Signature["confirm"],
): Signature => ({
  name,
  magic: typeof magic === "string" ? utf8(magic) : magic,
  offsets: typeof offsets === "number" ? [offsets] : offsets,
  ...(confirm === undefined ? {} : { confirm }),
});

const u16At = (data: Uint8Array, at: number): number =>
  (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8);
const u32At = (data: Uint8Array, at: number): number =>
  (u16At(data, at) | (u16At(data, at + 2) << 16)) >>> 0;

/** linux/minix_fs.h, struct minix_super_block: inodes, and the blocks of both bitmaps. */
const isMinix = (head: Uint8Array): boolean =>
  [1024, 1024 + 4, 1024 + 6].every((at) => u16At(head, at) > 0);

/** Those of the first 64 KiB. Made only for a disk whose first 64 KiB are not all zeros, as mkfs.btrfs leaves them. */
export const headSignatures = (): readonly Signature[] => [
  sign("LUKS", bytes(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe), 0),
  sign("LUKS", bytes(0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe), [16 * kib, 32 * kib]),
  sign("XFS", "XFSB", 0),
  sign("ext2/ext3/ext4", bytes(0x53, 0xef), 0x438, (head) => u32At(head, 0x418) <= 6),
  sign(
    "swap",
    "SWAPSPACE2",
    [4, 8, 16, 32, 64].map((page) => page * kib - 10),
  ),
  sign(
    "swap",
    "SWAP-SPACE",
    [4, 8, 16, 32, 64].map((page) => page * kib - 10),
  ),
  sign(
    "hibernation image",
    "S1SUSPEND",
    [4, 8, 16, 32, 64].map((page) => page * kib - 10),
  ),
  sign("LVM physical volume", "LABELONE", [0, 512, 1024, 1536]),
  sign("md RAID member (1.1)", bytes(0xfc, 0x4e, 0x2b, 0xa9), 0),
  sign("md RAID member (1.2)", bytes(0xfc, 0x4e, 0x2b, 0xa9), 4 * kib),
  sign(
    "bcache or bcachefs",
    bytes(
      0xc6,
      0x85,
      0x73,
      0xf6,
      0x4e,
      0x1a,
      0x45,
      0xca,
      0x82,
      0x65,
      0xf5,
      0x7f,
      0x48,
      0xba,
      0x6d,
      0x81,
    ),
    4 * kib + 24,
  ),
  sign(
    "bcachefs",
    bytes(
      0xc6,
      0x85,
      0x73,
      0xf6,
      0x66,
      0xce,
      0x90,
      0xa9,
      0xd9,
      0x6a,
      0x60,
      0xcf,
      0x80,
      0x3d,
      0xf7,
      0xef,
    ),
    4 * kib + 24,
  ),
  sign("squashfs", "hsqs", 0),
  sign("squashfs", "sqsh", 0),
  sign("EROFS", bytes(0xe2, 0xe1, 0xf5, 0xe0), 1024),
  sign("F2FS", bytes(0x10, 0x20, 0xf5, 0xf2), [1024, 5 * kib]),
  sign("NTFS", "NTFS    ", 3),
  sign("exFAT", "EXFAT   ", 3),
  sign("ReFS", bytes(0x52, 0x65, 0x46, 0x53, 0, 0, 0, 0), 3),
  sign("BitLocker", "-FVE-FS-", 3),
  sign("FAT", "FAT12   ", 54),
  sign("FAT", "FAT16   ", 54),
  sign("FAT", "MSDOS", 54),
  sign("FAT", "FAT32   ", 82),
  sign("APFS", "NXSB", 32),
  sign("HFS+", "H+", 1024, (head) => head[1026] === 0 && (head[1027] ?? 0) >= 4),
  sign("HFS+", "HX", 1024, (head) => head[1026] === 0 && (head[1027] ?? 0) >= 4),
  sign("ISO 9660", "CD001", 32 * kib + 1),
  sign("UDF", "BEA01", 32 * kib + 1),
  sign("UDF", "NSR0", [32 * kib + 1, 34 * kib + 1, 36 * kib + 1]),
  sign("JFS", "JFS1", 32 * kib),
  sign("ReiserFS", "ReIsErFs", [8 * kib + 20, 8 * kib + 52]),
  sign("ReiserFS", "ReIsEr2Fs", 8 * kib + 52),
  sign("ReiserFS", "ReIsEr3Fs", 8 * kib + 52),
  sign(
    "NILFS2",
    bytes(0x34, 0x34),
    1024 + 6,
    (head) => u16At(head, 1024 + 4) === 0 && u32At(head, 1024) <= 2,
  ),
  sign("OCFS2", "OCFSV2", [1024, 2048, 4096, 8192]),
  sign("Minix", bytes(0x5a, 0x4d), 1024 + 24),
  // Versions 1 and 2, each with names of 14 and of 30 bytes.
  ...[bytes(0x7f, 0x13), bytes(0x8f, 0x13), bytes(0x68, 0x24), bytes(0x78, 0x24)].map((magic) =>
    sign("Minix", magic, 1024 + 16, isMinix),
  ),
  sign("BFS", bytes(0xce, 0xfa, 0xad, 0x1b), 0),
  sign("cramfs", bytes(0x45, 0x3d, 0xcd, 0x28), [0, 512]),
  sign("romfs", "-rom1fs-", 0),
  sign("UBI", "UBI#", 0),
  sign("dm-verity hash", bytes(0x76, 0x65, 0x72, 0x69, 0x74, 0x79, 0, 0), 0),
  sign("dm-integrity", bytes(0x69, 0x6e, 0x74, 0x65, 0x67, 0x72, 0x74, 0), 0),
  sign(
    "Stratis",
    bytes(
      0x21,
      0x53,
      0x74,
      0x72,
      0x61,
      0x30,
      0x74,
      0x69,
      0x73,
      0x86,
      0xff,
      0x02,
      0x5e,
      0x41,
      0x72,
      0x68,
    ),
    [512 + 4, 9 * 512 + 4],
  ),
  sign("VDO", "dmvdo001", 0),
  sign("Ceph BlueStore", "bluestore block device", 0),
  sign("ZFS", bytes(0x01, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01), 16 * kib),
];

/** What others keep in the block where Btrfs keeps its superblock. */
export const blockSignatures: readonly Signature[] = [
  sign("ReiserFS", "ReIsErFs", 64 * kib + 52),
  sign("ReiserFS", "ReIsEr2Fs", 64 * kib + 52),
  sign("ReiserFS", "ReIsEr3Fs", 64 * kib + 52),
  sign("Reiser4", "ReIsEr4", 64 * kib),
  sign(
    "GFS2",
    bytes(0x01, 0x16, 0x19, 0x70),
    64 * kib,
    (head) => u32At(head, 64 * kib + 4) === 0x01000000,
  ),
];

/** What stands at the end of a disk, or near it. */
export interface EndSignature {
  readonly name: string;
  readonly magic: Uint8Array;
  /** Where it stands on a disk of this size; a place at or below zero is none. */
  readonly offsets: (sizeBytes: number) => readonly number[];
}

/** The beginning of the `count`-th last block of this size; blocks are counted from the disk's beginning. */
const fromEnd = (sizeBytes: number, blockBytes: number, count: number): number =>
  (Math.floor(sizeBytes / blockBytes) - count) * blockBytes;

export const gpt = utf8("EFI PART");
const md = bytes(0xfc, 0x4e, 0x2b, 0xa9);
/** struct meta_data_on_disk_8 of DRBD 8.3 and of 8.4 and later: internal metadata in the last 4 KiB. */
const drbdOffsets: EndSignature["offsets"] = (size) => [fromEnd(size, 4 * kib, 1) + 60];

/** Members of arrays and backup tables that keep their mark at the end of the disk. */
export const endSignatures: readonly EndSignature[] = [
  {
    name: "GPT partition table (backup)",
    magic: gpt,
    offsets: (size) => [512, 4096].map((sector) => fromEnd(size, sector, 1)),
  },
  // drivers/md: super_1_load() and MD_NEW_SIZE_SECTORS()
  {
    name: "md RAID member (1.0)",
    magic: md,
    offsets: (size) => [Math.floor((Math.floor(size / 512) - 16) / 8) * 8 * 512],
  },
  { name: "md RAID member (0.90)", magic: md, offsets: (size) => [fromEnd(size, 64 * kib, 1)] },
  {
    name: "Intel RAID member",
    magic: utf8("Intel Raid ISM Cfg Sig. "),
    offsets: (size) => [fromEnd(size, 512, 2)],
  },
  {
    name: "DDF RAID member",
    magic: bytes(0xde, 0x11, 0xde, 0x11),
    offsets: (size) => [fromEnd(size, 512, 1)],
  },
  { name: "DRBD metadata", magic: bytes(0x83, 0x74, 0x02, 0x6b), offsets: drbdOffsets },
  { name: "DRBD metadata", magic: bytes(0x83, 0x74, 0x02, 0x6d), offsets: drbdOffsets },
];
