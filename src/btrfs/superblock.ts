import { holdsAt } from "../linux/bytes.ts";
import { raw, struct, u8, u16, u32, u64 } from "../linux/struct.ts";
import { textUntilNul, uuidText } from "../linux/text.ts";
import { checksumOf } from "./checksum.ts";

/** uapi/linux/btrfs_tree.h: BTRFS_SUPER_INFO_SIZE, btrfs_sb_offset() */
export const superblockBytes = 4096;
export const primaryOffset = 64 * 1024;
const mebibyte = 1024 * 1024;
export const mirrorOffsets = [64 * mebibyte, 256 * 1024 * mebibyte] as const;

/** "_BHRfS_M", and what mkfs.btrfs writes while it is not done (BTRFS_MAGIC_TEMPORARY). */
export const superblockMagic = 0x4d5f53665248425fn;
export const temporaryMagic = 0x4d5f536652484221n;

/** BTRFS_SUPER_FLAG_SEEDING: other filesystems grow from this one, so the kernel never writes to it. */
const seedingFlag = 1n << 32n;

/**
 * uapi/linux/btrfs_tree.h, struct btrfs_super_block (packed), with the fields of its
 * dev_item (struct btrfs_dev_item, at 201) that a single-device volume needs.
 */
export const superblockFields = struct(superblockBytes, {
  checksum: raw(0, 32),
  fsid: raw(32, 16),
  address: u64(48),
  flags: u64(56),
  magic: u64(64),
  generation: u64(72),
  logRoot: u64(96),
  totalBytes: u64(112),
  usedBytes: u64(120),
  deviceCount: u64(136),
  sectorBytes: u32(144),
  nodeBytes: u32(148),
  compatReadOnlyFlags: u64(180),
  incompatFlags: u64(188),
  checksumType: u16(196),
  logRootLevel: u8(200),
  deviceId: u64(201),
  deviceBytes: u64(209),
  deviceUsedBytes: u64(217),
  deviceUuid: raw(267, 16),
  deviceFsid: raw(283, 16),
  label: raw(299, 256),
});

/** One copy of the superblock as its bytes say it, whether they are to be believed or not. */
export interface Superblock {
  /** The 4096 bytes as read. */
  readonly block: Uint8Array;
  /** Filesystem UUID, "8-4-4-4-12". */
  readonly fsid: string;
  /** The offset this copy says it stands at. */
  readonly address: bigint;
  /** See `seedingFlag`. */
  readonly flags: bigint;
  readonly magic: bigint;
  readonly generation: bigint;
  /** The sum of all devices. */
  readonly totalBytes: bigint;
  readonly deviceCount: bigint;
  readonly sectorBytes: number;
  readonly nodeBytes: number;
  readonly deviceId: bigint;
  /** Size of the device as the filesystem uses it, dev_item.total_bytes. */
  readonly deviceBytes: bigint;
  /** What of it is given to chunks, dev_item.bytes_used. */
  readonly deviceUsedBytes: bigint;
  readonly deviceUuid: string;
  /** The UUID that the device's own entry carries (differs from fsid after `btrfstune -m`). */
  readonly deviceFsid: string;
  readonly usedBytes: bigint;
  readonly label: string;
  readonly checksumType: number;
  /** Non-zero when an fsync log waits to be replayed. */
  readonly logRoot: bigint;
  readonly logRootLevel: number;
  readonly incompatFlags: bigint;
  readonly compatReadOnlyFlags: bigint;
}

/** Reads the fields of a 4096-byte block. Throws a RangeError for a shorter one. */
export function parseSuperblock(block: Uint8Array): Superblock {
  const fields = superblockFields.decode(block);
  return {
    ...fields,
    block,
    fsid: uuidText(fields.fsid),
    deviceUuid: uuidText(fields.deviceUuid),
    deviceFsid: uuidText(fields.deviceFsid),
    label: textUntilNul(fields.label),
  };
}

/** True when the stored checksum is the one the bytes have; false for an unknown type. */
export function isChecksumRight(superblock: Superblock): boolean {
  const expected = checksumOf(superblock.block, superblock.checksumType);
  return expected !== null && holdsAt(superblock.block, expected, 0);
}

/** Magic, own address and checksum are right: what the kernel asks of a copy before it reads on. */
export const isValidCopy = (superblock: Superblock, offset: number): boolean =>
  superblock.magic === superblockMagic &&
  superblock.address === BigInt(offset) &&
  isChecksumRight(superblock);

export const isSeed = ({ flags }: Superblock): boolean => (flags & seedingFlag) !== 0n;

type FieldValues = Parameters<typeof superblockFields.encode>[0];

/** A copy of a superblock with these fields changed and its checksum made right for them. */
export function withFields(superblock: Superblock, values: FieldValues): Superblock {
  const block = superblock.block.slice();
  superblockFields.patch(block, values);
  const type = values.checksumType ?? superblock.checksumType;
  const checksum = checksumOf(block, type);
  if (checksum === null) throw new RangeError(`checksum type ${type} is unknown`);
  superblockFields.patch(block, { checksum: new Uint8Array(32) });
  superblockFields.patch(block, { checksum });
  return parseSuperblock(block);
}

/** Which copies a device of this size has: a copy needs room behind it (btrfs_sb_offset users). */
export const copyOffsets = (deviceBytes: number): readonly number[] =>
  [primaryOffset, ...mirrorOffsets].filter((offset) => offset + superblockBytes < deviceBytes);
