import { holdsAt } from "../linux/bytes.ts";
import { utf8 } from "../linux/text.ts";

/**
 * Magic numbers of what may own a disk, at the places where each keeps them. Sources: the prober of
 * the same name in util-linux' libblkid (superblocks/, partitions/), the partition parsers of the kernel
 * (block/partitions/) and its headers of filesystems. Which places count on which disk is decided in
 * foreign.ts.
 */
export interface Signature {
  readonly name: string;
  readonly magic: Uint8Array;
  readonly offsets: readonly number[];
  /** A further look where the magic alone is too short to be sure; `at` is where it was found. */
  readonly confirm?: (data: Uint8Array, at: number) => boolean;
}

/** What stands at the end of a disk, or near it. */
export interface EndSignature {
  readonly name: string;
  readonly magic: Uint8Array;
  /** Where it stands on a disk of this size; a place at or below zero is none. */
  readonly offsets: (sizeBytes: number) => readonly number[];
  /** The same, of the 512 bytes of the sector in which the magic stands. */
  readonly confirm?: (sector: Uint8Array) => boolean;
}

const kib = 1024;
const mib = 1024 * kib;

const hex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/[0-9a-f]{2}/gi) ?? [], (byte) => Number.parseInt(byte, 16));
/** "x:" before a magic says that it is written in hexadecimal. */
const magicOf = (text: string): Uint8Array =>
  text.startsWith("x:") ? hex(text.slice(2)) : utf8(text);

export const sign = (
  name: string,
  magic: string,
  offsets: number | readonly number[],
  confirm?: Signature["confirm"],
): Signature => ({
  name,
  magic: magicOf(magic),
  offsets: typeof offsets === "number" ? [offsets] : offsets,
  ...(confirm === undefined ? {} : { confirm }),
});

export const atEnd = (
  name: string,
  magic: string,
  offsets: EndSignature["offsets"],
  confirm?: EndSignature["confirm"],
): EndSignature => ({
  name,
  magic: magicOf(magic),
  offsets,
  ...(confirm === undefined ? {} : { confirm }),
});

type Read = (data: Uint8Array, at: number) => number;
const u16: Read = (data, at) => (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8);
const u32: Read = (data, at) => (u16(data, at) | (u16(data, at + 2) << 16)) >>> 0;
const bigU16: Read = (data, at) => ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);
const bigU32: Read = (data, at) => ((bigU16(data, at) << 16) | bigU16(data, at + 2)) >>> 0;

const isPowerOfTwo = (value: number, least: number, most: number): boolean =>
  value >= least && value <= most && (value & (value - 1)) === 0;

/**
 * linux/minix_fs.h, struct minix_super_block, in either byte order: as many blocks of the bitmap as
 * its 16-bit number of inodes needs.
 */
const isMinix =
  (read: Read) =>
  (head: Uint8Array): boolean => {
    const inodes = read(head, 1024);
    const inodeMapBlocks = read(head, 1024 + 4);
    const zoneMapBlocks = read(head, 1024 + 6);
    const mapHolds = inodeMapBlocks * kib * 8;
    return inodes > 0 && zoneMapBlocks > 0 && mapHolds > inodes && inodeMapBlocks <= 9;
  };

/** struct minix3_super_block, big endian */
const isBigMinix3 = (head: Uint8Array): boolean =>
  bigU16(head, 1024 + 6) > 0 &&
  bigU16(head, 1024 + 8) > 0 &&
  isPowerOfTwo(bigU16(head, 1024 + 28), 1024, 32 * kib);

/** fs/hfs/hfs.h, struct hfs_mdb: allocation blocks of whole sectors, as the kernel wants them. */
const isHfs = (head: Uint8Array): boolean => {
  const blockBytes = bigU32(head, 1024 + 20);
  return blockBytes > 0 && blockBytes % 512 === 0 && bigU16(head, 1024 + 18) > 0;
};

const isHfsPlus = (head: Uint8Array): boolean => head[1026] === 0 && (head[1027] ?? 0) >= 4;

/** Core Storage's header of a physical volume: version 1, of the kind that FileVault 2 encrypts. */
const isFileVault = (head: Uint8Array): boolean =>
  u16(head, 8) === 1 && u16(head, 10) === 0x10 && u32(head, 90) === 1;

/**
 * uapi/linux/msdos_fs.h, struct fat_boot_sector, of a FAT that does not say its name: all that the
 * kernel checks of it (fs/fat/inode.c, fat_read_bpb()) and a table of some length.
 */
function isFat(head: Uint8Array): boolean {
  const media = head[21] ?? 0;
  const tableSectors = u16(head, 22) || u32(head, 36);
  const sectors = u16(head, 19) || u32(head, 32);
  return (
    (head[0] === 0xeb || head[0] === 0xe9) &&
    isPowerOfTwo(u16(head, 11), 512, 4 * kib) &&
    isPowerOfTwo(head[13] ?? 0, 1, 128) &&
    u16(head, 14) > 0 &&
    (head[16] ?? 0) > 0 &&
    (media >= 0xf8 || media === 0xf0) &&
    tableSectors > 0 &&
    sectors > tableSectors
  );
}

/** fs/xfs/libxfs/xfs_log_format.h, struct xlog_rec_header: version, length, format. */
const isXfsLog = (data: Uint8Array, at: number): boolean =>
  [1, 2, 3].includes(bigU32(data, at + 8)) &&
  bigU32(data, at + 12) > 0 &&
  [1, 2, 3].includes(bigU32(data, at + 300));

/** Every sector between two places. */
const sectors = (from: number, to: number): number[] =>
  Array.from({ length: (to - from) / 512 }, (_, i) => from + i * 512);

/** fs/ufs/ufs_fs.h, struct ufs_super_block: where its magic stands, and the sizes of block and fragment. */
const ufsMagicOffset = 1372;
const isUfs = (data: Uint8Array, at: number): boolean =>
  [u32, bigU32].some((read) => {
    const blockBytes = read(data, at - ufsMagicOffset + 48);
    const fragmentBytes = read(data, at - ufsMagicOffset + 52);
    return (
      isPowerOfTwo(blockBytes, 4 * kib, 64 * kib) && isPowerOfTwo(fragmentBytes, 512, blockBytes)
    );
  });
const ufsMagics = ["54190100", "19015419", "12561900", "14500900", "95216100", "94192305"];
/** All six, each in both byte orders, in superblocks at these places. */
const ufsAt = (...superblocks: readonly number[]): readonly Signature[] =>
  ufsMagics.flatMap((digits) =>
    [hex(digits), hex(digits).reverse()].map((magic) => ({
      name: "UFS",
      magic,
      offsets: superblocks.map((start) => start + ufsMagicOffset),
      confirm: isUfs,
    })),
  );

/** struct disklabel of the BSDs: its magic stands in it twice. */
const isBsdLabel = (head: Uint8Array, at: number): boolean => u32(head, at) === u32(head, at + 132);

/** Identifiers of partitions that Atari's tools and Linux' know. */
const atariIds = ["GEM", "BGM", "XGM", "LNX", "SWP", "RAW", "MIX", "MNX", "UNX", "F32", "MAC"];
/** block/partitions/atari.h, struct partition_info: in use, with a beginning and a length. */
const isAtariEntry = (head: Uint8Array, at: number): boolean =>
  ((head[at - 1] ?? 0) & 1) === 1 && bigU32(head, at + 3) > 0 && bigU32(head, at + 7) > 0;
/** struct rootsector: four entries of twelve bytes, the identifier behind one byte of flags. */
const atariEntries = [0, 1, 2, 3].map((i) => 0x1c6 + 12 * i + 1);

/** block/partitions/mac.h: blocks of a known size, and the first entry of the map in the second of them. */
function isMacMap(head: Uint8Array): boolean {
  const blockBytes = bigU16(head, 2);
  const hasEntry = ["PM", "TS"].some((magic) => holdsAt(head, utf8(magic), blockBytes));
  return isPowerOfTwo(blockBytes, 512, 4 * kib) && hasEntry;
}

const swapPages = [4, 8, 16, 32, 64].map((page) => page * kib - 10);
/** A vdev label begins with an XDR nvlist, in the byte order of the machine that made it. */
const zfsMagics = ["x:0101 0000 00000000 00000001", "x:0100 0000 00000000 00000001"];

/** Those of the first 64 KiB. Made only for a disk where these are not all zeros, as mkfs.btrfs leaves them. */
export const headSignatures = (): readonly Signature[] => [
  sign("LUKS", "x:4c554b53babe", 0),
  sign("LUKS", "x:534b554cbabe", [16 * kib, 32 * kib]),
  sign("XFS", "XFSB", 0),
  sign("ext2/ext3/ext4", "x:53ef", 0x438, (head) => u32(head, 0x418) <= 6),
  sign("swap", "SWAPSPACE2", swapPages),
  sign("swap", "SWAP-SPACE", swapPages),
  sign("hibernation image", "S1SUSPEND", swapPages),
  sign("LVM physical volume", "LABELONE", [0, 512, 1024, 1536]),
  sign("LVM1 physical volume", "HM", 0, (head) => [1, 2].includes(u16(head, 2))),
  sign("device-mapper snapshot", "SnAp", 0),
  sign("md RAID member (1.1)", "x:fc4e2ba9", 0),
  sign("md RAID member (1.2)", "x:fc4e2ba9", 4 * kib),
  sign("bcache or bcachefs", "x:c68573f64e1a45ca8265f57f48ba6d81", 4 * kib + 24),
  sign("bcachefs", "x:c68573f666ce90a9d96a60cf803df7ef", 4 * kib + 24),
  sign("HighPoint 37x RAID member (hpt37x)", "x:f016785a", 9 * 512 + 32),
  sign("HighPoint 37x RAID member (hpt37x)", "x:fd16785a", 9 * 512 + 32),
  sign("drbdmanage control volume", "$DRBDmgr=q", 0),
  sign("DRBD proxy log", "DRBDdlh*", 0),
  sign("squashfs", "hsqs", 0),
  sign("squashfs", "sqsh", 0),
  sign("EROFS", "x:e2e1f5e0", 1024),
  sign("F2FS", "x:1020f5f2", [1024, 5 * kib]),
  sign("NTFS", "NTFS    ", 3),
  sign("exFAT", "EXFAT   ", 3),
  sign("ReFS", "x:52654653 00000000", 3),
  sign("BitLocker", "-FVE-FS-", 3),
  sign("FileVault2 (Core Storage)", "CS", 88, isFileVault),
  // These two begin with a boot sector that looks like one of FAT.
  sign("HPFS", "x:49e895f9 c5e953fa", 8 * kib),
  sign("JFS", "JFS1", 32 * kib),
  sign("FAT", "FAT12   ", 54),
  sign("FAT", "FAT16   ", 54),
  sign("FAT", "FAT     ", 54),
  sign("FAT", "MSDOS", 54),
  sign("FAT", "FAT32   ", 82),
  sign("FAT", "MSWIN", 82),
  sign("FAT", "x:55aa", 510, isFat),
  sign("APFS", "NXSB", 32),
  sign("HFS+", "H+", 1024, isHfsPlus),
  sign("HFS+", "HX", 1024, isHfsPlus),
  sign("HFS", "BD", 1024, isHfs),
  sign("ISO 9660", "CD001", 32 * kib + 1),
  sign("UDF", "BEA01", 32 * kib + 1),
  sign("UDF", "NSR0", [32 * kib + 1, 34 * kib + 1, 36 * kib + 1]),
  sign("ReiserFS", "ReIsErFs", [8 * kib + 20, 8 * kib + 52]),
  sign("ReiserFS", "ReIsEr2Fs", 8 * kib + 52),
  sign("ReiserFS", "ReIsEr3Fs", 8 * kib + 52),
  sign("NILFS2", "x:3434", 1024 + 6, (head) => u16(head, 1024 + 4) === 0 && u32(head, 1024) <= 2),
  sign("OCFS2", "OCFSV2", [1024, 2048, 4096, 8192]),
  sign("OCFS", "OracleCFS", 8 * kib),
  sign("Oracle ASM disk", "ORCLDISK", 32),
  // Versions 1 and 2 of Minix, each with names of 14 and of 30 bytes, in either byte order; then 3.
  ...["x:7f13", "x:8f13", "x:6824", "x:7824"].map((magic) =>
    sign("Minix", magic, 1024 + 16, isMinix(u16)),
  ),
  ...["x:137f", "x:138f", "x:2468", "x:2478"].map((magic) =>
    sign("Minix", magic, 1024 + 16, isMinix(bigU16)),
  ),
  sign("Minix", "x:5a4d", 1024 + 24),
  sign("Minix", "x:4d5a", 1024 + 24, isBigMinix3),
  sign("BFS", "x:cefaad1b", 0),
  // Behind a boot sector on PCs.
  sign("BeFS", "1SFB", [32, 512 + 32]),
  sign("BeFS", "BFS1", [32, 512 + 32]),
  sign("cramfs", "x:453dcd28", [0, 512]),
  sign("cramfs", "x:28cd3d45", [0, 512]),
  sign("romfs", "-rom1fs-", 0),
  sign("UBI", "UBI#", 0),
  sign("UBIFS", "x:31181006", 0),
  sign("dm-verity hash", "x:7665726974790000", 0),
  sign("dm-integrity", "x:696e746567727400", 0),
  sign("Stratis", "x:2153747261307469 7386ff025e417268", [512 + 4, 9 * 512 + 4]),
  sign("VDO", "dmvdo001", 0),
  sign("Ceph BlueStore", "bluestore block device", 0),
  sign("OpenSVC heartbeat", "x:3dc13c87c05be3b6", 4),
  ...zfsMagics.map((magic) => sign("ZFS", magic, 16 * kib)),
  sign("EXFS", "EXFS", 0),
  sign("mpool media pool (multipath pool)", "mpoolDev", 0),
  sign("NetWare NSS pool", "SPB5", 4 * kib),
  sign("VxFS", "x:f5fc01a5", 1024),
  sign("VxFS", "x:a501fcf5", 8 * kib),
  sign("zonefs", "SFOZ", 0),
  ...["x:207e18fd", "x:fd187e20"].map((magic) =>
    sign(
      "System V",
      magic,
      [0, 9, 15, 18].map((block) => block * kib + 512 + 504),
    ),
  ),
  ...ufsAt(0, 8 * kib),
  sign("XFS log", "x:feedbabe", sectors(0, 64 * kib), isXfsLog),
  // Tables of partitions beside those of foreign.ts.
  sign("BSD disklabel", "x:57455682", [64, 128, 512], isBsdLabel),
  ...atariIds.map((id) => sign("Atari partition table", id, atariEntries, isAtariEntry)),
  // "VOL1", "LNX1" and "CMS1" in EBCDIC, in the third block of the disk.
  sign(
    "DASD label",
    "x:e5d6d3f1",
    [512, kib, 2 * kib, 4 * kib].map((block) => 2 * block + 4),
  ),
  ...["x:d3d5e7f1", "x:c3d4e2f1"].map((magic) =>
    sign(
      "DASD label",
      magic,
      [512, kib, 2 * kib, 4 * kib].map((block) => 2 * block),
    ),
  ),
  sign("Apple partition map", "ER", 0, isMacMap),
  sign("Amiga partition table", "RDSK", sectors(0, 8 * kib)),
  sign("AIX disk", "x:c9c2d4c1", 0),
  sign("Ultrix disklabel", "x:57290300 01000000", 16 * kib - 72),
];

/** What others keep in the block where Btrfs keeps its superblock. */
export const blockSignatures = (): readonly Signature[] => [
  sign("ReiserFS", "ReIsErFs", 64 * kib + 52),
  sign("ReiserFS", "ReIsEr2Fs", 64 * kib + 52),
  sign("ReiserFS", "ReIsEr3Fs", 64 * kib + 52),
  sign("Reiser4", "ReIsEr4", 64 * kib),
  sign("GFS2", "x:01161970", 64 * kib, (head) => u32(head, 64 * kib + 4) === 0x01000000),
  // fs/scoutfs' struct scoutfs_block_header: behind its checksum, and with the number of this block of 4 KiB.
  sign("scoutfs", "x:8b423c10", 64 * kib + 4, (head) => u32(head, 64 * kib + 24) === 16),
  ...ufsAt(64 * kib),
];

/** How much of a disk `middleSignatures` look at. */
export const middleBytes = 2 * mib + 4 * kib;

/**
 * What stands behind the superblock of Btrfs. There may be files, so this is only asked to name a disk that
 * bears no trace of a Btrfs.
 */
export const middleSignatures = (): readonly Signature[] => [
  sign("VMFS volume member", "x:0dd001c0", mib),
  sign("VMFS", "x:5ef1ab2f", 2 * mib),
  sign(
    "LUKS",
    "x:534b554cbabe",
    [64, 128, 256, 512, kib, 2 * kib].map((at) => at * kib),
  ),
  sign("XFS log", "x:feedbabe", sectors(64 * kib, 256 * kib), isXfsLog),
  ...ufsAt(256 * kib),
  ...zfsMagics.map((magic) => sign("ZFS", magic, 256 * kib + 16 * kib)),
];

/** The beginning of the `count`-th last block of this size; blocks are counted from the disk's beginning. */
const fromEnd = (sizeBytes: number, blockBytes: number, count: number): number =>
  (Math.floor(sizeBytes / blockBytes) - count) * blockBytes;

export const lastSectors =
  (...counts: readonly number[]): EndSignature["offsets"] =>
  (size) =>
    counts.map((count) => fromEnd(size, 512, count));

const gptMagic = "EFI PART";
export const gpt = magicOf(gptMagic);
const md = "x:fc4e2ba9";

/**
 * struct meta_data_on_disk_8 and _9: internal metadata in the last 4 KiB, where both have the magic at the
 * same place. The kernel counts in whole blocks, libblkid from the last byte, which of a file that is no
 * whole number of sectors no loop device shows.
 */
const drbdOffsets: EndSignature["offsets"] = (size) => [
  fromEnd(size, 4 * kib, 1) + 60,
  ...Array.from({ length: 512 }, (_, cut) => size + cut - 4 * kib + 60),
];

const sumOf = (sector: Uint8Array, bytes: number, step: 1 | 2): number => {
  let sum = 0;
  for (let at = 0; at < bytes; at += step) sum += step === 1 ? (sector[at] ?? 0) : u16(sector, at);
  return sum;
};

/** The 128 bytes add up to nothing or to one, and the level is one that there is. */
const isJmicron = (sector: Uint8Array): boolean =>
  (sumOf(sector, 128, 2) & 0xffff) <= 1 && (sector[0x30] ?? 0) <= 5;

const isSilicon = (sector: Uint8Array): boolean =>
  (sector[0x116] ?? 0) < 8 && (-sumOf(sector, 0x13e, 2) & 0xffff) === u16(sector, 0x13e);

const isVia = (sector: Uint8Array): boolean =>
  (sector[2] ?? 0) <= 2 && (sumOf(sector, 50, 1) & 0xff) === sector[50];

/** The two labels at the end of a vdev, which is cut to whole labels of 256 KiB. */
const zfsOffsets: EndSignature["offsets"] = (size) =>
  [2, 1].map((count) => fromEnd(size, 256 * kib, count) + 16 * kib);

/** Members of arrays and backup tables that keep their mark at the end of the disk. */
export const endSignatures = (): readonly EndSignature[] => [
  atEnd("GPT partition table (backup)", gptMagic, (size) =>
    [512, 4096].map((sector) => fromEnd(size, sector, 1)),
  ),
  // drivers/md: super_1_load() and MD_NEW_SIZE_SECTORS(); version 0.90 has the byte order of its machine.
  atEnd("md RAID member (1.0)", md, (size) => [
    Math.floor((Math.floor(size / 512) - 16) / 8) * 8 * 512,
  ]),
  atEnd("md RAID member (0.90)", md, (size) => [fromEnd(size, 64 * kib, 1)]),
  atEnd("md RAID member (0.90)", "x:a92b4efc", (size) => [fromEnd(size, 64 * kib, 1)]),
  atEnd("Intel RAID member", "Intel Raid ISM Cfg Sig. ", lastSectors(2)),
  atEnd("DDF RAID member", "x:de11de11", lastSectors(1, 257)),
  ...["x:8374026b", "x:8374026c", "x:8374026d"].map((magic) =>
    atEnd("DRBD metadata", magic, drbdOffsets),
  ),
  atEnd("Adaptec RAID member", "x:37fc4d1e", lastSectors(1)),
  atEnd("HighPoint 45x RAID member (hpt45x)", "x:f316785a", lastSectors(11)),
  atEnd("HighPoint 45x RAID member (hpt45x)", "x:fd16785a", lastSectors(11)),
  atEnd("JMicron RAID member", "JM", lastSectors(1), isJmicron),
  atEnd("LSI MegaRAID member", "$XIDE$", lastSectors(1)),
  atEnd("NVIDIA RAID member", "NVIDIA", lastSectors(2)),
  atEnd(
    "Silicon Image Medley RAID member",
    "x:0000002f",
    (size) => [fromEnd(size, 512, 1) + 0x60],
    isSilicon,
  ),
  atEnd("VIA RAID member", "x:55aa", lastSectors(1), isVia),
  // Where Promise's controllers put it depends on the geometry that they gave the disk.
  atEnd(
    "Promise FastTrak RAID member",
    "Promise Technology, Inc.",
    lastSectors(16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087),
  ),
  ...zfsMagics.map((magic) => atEnd("ZFS", magic, zfsOffsets)),
];
