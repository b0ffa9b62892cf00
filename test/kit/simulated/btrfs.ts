import {
  copyOffsets,
  isChecksumRight,
  parseSuperblock,
  primaryOffset,
  type Superblock,
  superblockBytes,
  superblockFields,
  superblockMagic,
  withFields,
} from "../../../src/btrfs/superblock.ts";
import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { utf8 } from "../../../src/linux/text.ts";
import type { Storage } from "./storage.ts";
import { directory, type Entry, type Tree } from "./tree.ts";

/**
 * The simulated Btrfs on the disk: real superblocks, and instead of the B-trees the whole directory
 * tree as JSON at the place that the superblock's root field names. Like the real one it never writes
 * over a tree that a superblock still names.
 */
const rootField = 80;
/** BTRFS_FEATURE_INCOMPAT_EXTENT_TREE_V2: says to whoever reads trees from a disk that these are others. */
const ownTrees = 1n << 13n;
const treeHeaderBytes = 8;
/** Two places for trees, used in turn; no copy of the superblock and no intent record is near them. */
const treePlaces = [5 * 1024 * 1024, 21 * 1024 * 1024] as const;

export const emptyTree = (): Tree => new Map<string, Entry>([["", directory(256)]]);

export interface NewFilesystem {
  readonly fsid: Uint8Array;
  readonly deviceUuid: Uint8Array;
  readonly label: string;
  /** What of the device it uses. */
  readonly deviceBytes: number;
  readonly generation?: number;
  readonly deviceCount?: number;
}

/** The superblock of a new filesystem as it stands at 64 KiB. */
export function newSuperblock(made: NewFilesystem): Superblock {
  const { fsid, deviceUuid, label, deviceBytes } = made;
  const block = superblockFields.encode({
    fsid,
    address: BigInt(primaryOffset),
    flags: 1n,
    magic: superblockMagic,
    generation: BigInt(made.generation ?? 6),
    totalBytes: BigInt(deviceBytes),
    usedBytes: 147_456n,
    deviceCount: BigInt(made.deviceCount ?? 1),
    sectorBytes: 4096,
    nodeBytes: 16_384,
    compatReadOnlyFlags: 3n,
    incompatFlags: 0x341n | ownTrees,
    deviceId: 1n,
    deviceBytes: BigInt(deviceBytes),
    deviceUsedBytes: 126_877_696n,
    deviceUuid,
    deviceFsid: fsid,
    label: utf8(label),
  });
  // The chunk array: a real superblock means something in its later sectors too.
  block.fill(0xc4, 811, 940);
  return withFields(parseSuperblock(block), {});
}

/** Writes the tree where the superblock's generation puts it, and gives the superblock that names it. */
export function writeTree(storage: Storage, superblock: Superblock, tree: Tree): Superblock {
  const place = treePlaces[Number(superblock.generation % 2n)] ?? treePlaces[0];
  const text = utf8(JSON.stringify([...tree]));
  const block = new Uint8Array(treeHeaderBytes + text.length);
  new DataView(block.buffer).setUint32(0, text.length, true);
  new DataView(block.buffer).setUint32(4, Bun.hash.crc32(text), true);
  block.set(text, treeHeaderBytes);
  storage.write(block, place);
  const named = superblock.block.slice();
  new DataView(named.buffer).setBigUint64(rootField, BigInt(place), true);
  return withFields(parseSuperblock(named), {});
}

export function writeCopy(storage: Storage, superblock: Superblock, offset: number): void {
  storage.write(withFields(superblock, { address: BigInt(offset) }).block, offset);
}

/** All copies, as a commit writes them. */
export function writeCopies(storage: Storage, superblock: Superblock, deviceBytes: number): void {
  for (const offset of copyOffsets(deviceBytes)) writeCopy(storage, superblock, offset);
}

export function readCopy(storage: Storage, offset: number): Superblock {
  const block = new Uint8Array(superblockBytes);
  storage.read(block, offset);
  return parseSuperblock(block);
}

/** The tree that a superblock names; EIO when it is not there. */
export function readTree(storage: Storage, superblock: Superblock): Tree {
  const place = Number(new DataView(superblock.block.buffer).getBigUint64(rootField, true));
  const header = new Uint8Array(treeHeaderBytes);
  storage.read(header, place);
  const fields = new DataView(header.buffer);
  const length = fields.getUint32(0, true);
  if (length === 0 || length > 1024 * 1024) throw new SystemError("mount", Errno.EIO);
  const text = new Uint8Array(length);
  storage.read(text, place + treeHeaderBytes);
  if (Bun.hash.crc32(text) !== fields.getUint32(4, true)) throw new SystemError("mount", Errno.EIO);
  return new Map(JSON.parse(new TextDecoder().decode(text)) as [string, Entry][]);
}

/** What the kernel asks of a primary before it mounts: open_ctree() and btrfs_validate_super(). */
export function readForMount(storage: Storage): Superblock {
  const superblock = readCopy(storage, primaryOffset);
  const refuse = (errno: number): never => {
    throw new SystemError("mount", errno);
  };
  if (superblock.magic !== superblockMagic) refuse(Errno.EINVAL);
  if (superblock.address !== BigInt(primaryOffset)) refuse(Errno.EINVAL);
  if (!isChecksumRight(superblock)) refuse(Errno.EINVAL);
  if (superblock.incompatFlags > 0xffffn) refuse(Errno.EINVAL);
  if (superblock.deviceCount !== 1n) refuse(Errno.ENOENT);
  if (superblock.deviceBytes > BigInt(storage.sizeBytes)) refuse(Errno.EINVAL);
  return superblock;
}

/** A mounted filesystem. */
export class Filesystem {
  readonly fsid: string;
  /** The kernel's name of its device. */
  readonly deviceName: string;
  /** "0:43", as all its mounts show it. */
  readonly device: string;
  superblock: Superblock;
  /** The tree as it is on the disk, and after it every change that no commit has taken down yet. */
  versions: readonly Tree[];
  readOnly: boolean;

  constructor(
    from: Pick<
      Filesystem,
      "fsid" | "deviceName" | "device" | "superblock" | "versions" | "readOnly"
    >,
  ) {
    this.fsid = from.fsid;
    this.deviceName = from.deviceName;
    this.device = from.device;
    this.superblock = from.superblock;
    this.versions = from.versions;
    this.readOnly = from.readOnly;
  }

  get tree(): Tree {
    return this.versions.at(-1) ?? emptyTree();
  }

  get isDirty(): boolean {
    return this.versions.length > 1;
  }

  get bytes(): number {
    return Number(this.superblock.deviceBytes);
  }

  change(tree: Tree): void {
    this.versions = [...this.versions, tree];
  }

  /** One transaction, as good as in one piece: the tree first, then the superblocks that name it. */
  commit(
    storage: Storage,
    tree = this.tree,
    changes: { readonly deviceBytes?: bigint } = {},
  ): void {
    const generation = this.superblock.generation + 1n;
    const next = withFields(this.superblock, {
      ...changes,
      ...(changes.deviceBytes === undefined ? {} : { totalBytes: changes.deviceBytes }),
      generation,
    });
    this.superblock = writeTree(storage, next, tree);
    storage.flush();
    writeCopies(storage, this.superblock, Number(this.superblock.deviceBytes));
    storage.flush();
    this.versions = [tree];
  }
}
