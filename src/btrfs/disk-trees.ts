import { holdsAt } from "../linux/bytes.ts";
import { SystemError } from "../linux/errno.ts";
import { raw, struct, u16, u32, u64, u8 } from "../linux/struct.ts";
import { uuidText } from "../linux/text.ts";
import { checksumOf } from "./checksum.ts";
import { type Superblock, superblockBytes } from "./superblock.ts";
import { everything, type Key } from "./tree-search.ts";

/**
 * The B-trees of a filesystem that is not mounted, read from its one disk: what the kernel would have to find there
 * to mount it. Whatever stands on the disk, reading ends: each block is one level below the one that names it.
 */

/** struct btrfs_super_block: where the trees begin */
const treeFields = struct(superblockBytes, {
  root: u64(80),
  chunkRoot: u64(88),
  systemChunksBytes: u32(160),
  chunkRootGeneration: u64(164),
  rootLevel: u8(198),
  chunkRootLevel: u8(199),
  systemChunks: raw(811, 2048),
  backups: raw(2859, 4 * 168),
});
/** struct btrfs_root_backup */
const backupFields = struct(168, { root: u64(0), generation: u64(8), rootLevel: u8(152) });

/** struct btrfs_header, and behind it struct btrfs_item in a leaf, struct btrfs_key_ptr in other blocks */
const header = struct(101, {
  checksum: raw(0, 32),
  fsid: raw(32, 16),
  address: u64(48),
  generation: u64(80),
  itemCount: u32(96),
  level: u8(100),
});
/** struct btrfs_disk_key */
const diskKey = struct(17, { objectId: u64(0), type: u8(8), offset: u64(9) });
const leafItem = struct(25, { dataOffset: u32(17), dataBytes: u32(21) });
const pointer = struct(33, { address: u64(17), generation: u64(25) });

/** struct btrfs_chunk, and behind it as many struct btrfs_stripe */
const chunkFields = struct(48, { lengthBytes: u64(0), type: u64(24), stripeCount: u16(44) });
const stripeFields = struct(32, { deviceId: u64(0), offset: u64(8) });
/** BTRFS_BLOCK_GROUP_RAID0, RAID10, RAID5, RAID6: with more than one device no copy of a block is in one piece. */
const striped = (1n << 3n) | (1n << 6n) | (1n << 7n) | (1n << 8n);

/** struct btrfs_root_item */
const rootItem = struct(239, { generation: u64(160), address: u64(176), level: u8(238) });

/** Object ids and key types of uapi/linux/btrfs_tree.h */
const chunkObject = 256n;
const chunkType = 228;
const rootType = 132;
/** BTRFS_TREE_LOG_OBJECTID, -6 */
const logObject = everything - 5n;

/** Where a block of a tree is, and what it must be. */
export interface BlockPlace {
  /** Logical, as all addresses in the trees are. */
  readonly address: bigint;
  readonly level: number;
  readonly generation: bigint;
}

/** fs/btrfs/ctree.h: BTRFS_MAX_LEVEL; fs/btrfs/disk-io.c, btrfs_validate_super(): the largest block */
const levels = 8;
const largestBlockBytes = 64 * 1024;
/** More than any look needs on a volume of many TiB; blocks that were written to mislead may lead to each other. */
const mostBlocks = 5000;

/** No copy of a block that is needed is as it must be. */
export class UnreadableTree extends Error {
  override readonly name = "UnreadableTree";
}

/** So many blocks were read that what is looked for is not worth more of them. */
export class TooManyBlocks extends Error {
  override readonly name = "TooManyBlocks";
}

interface Chunk {
  readonly start: bigint;
  readonly lengthBytes: bigint;
  /** Offsets of its copies on this disk. */
  readonly copies: readonly bigint[];
}

interface DiskItem {
  readonly key: Key;
  readonly data: Uint8Array;
}

type Child = BlockPlace & { readonly key: Key };

const compare = (a: Key, b: Key): number =>
  Number(a.objectId > b.objectId) - Number(a.objectId < b.objectId) ||
  a.type - b.type ||
  Number(a.offset > b.offset) - Number(a.offset < b.offset);

const firstKey: Key = { objectId: 0n, type: 0, offset: 0n };
const lastKey: Key = { objectId: everything, type: 255, offset: everything };

export class DiskTrees {
  readonly #superblock: Superblock;
  readonly #fields: ReturnType<typeof treeFields.decode>;
  /** Gives fewer bytes at the end of the disk. */
  readonly #read: (offset: number, length: number) => Uint8Array;
  readonly #systemChunks: readonly Chunk[];
  readonly #chunks = new Map<bigint, Chunk>();
  #blocksRead = 0;
  #isLookingUp = false;

  constructor(superblock: Superblock, read: (offset: number, length: number) => Uint8Array) {
    this.#superblock = superblock;
    this.#fields = treeFields.decode(superblock.block);
    this.#read = read;
    this.#systemChunks = this.#readSystemChunks();
  }

  get chunkRoot(): BlockPlace {
    const { chunkRoot, chunkRootLevel, chunkRootGeneration } = this.#fields;
    return { address: chunkRoot, level: chunkRootLevel, generation: chunkRootGeneration };
  }

  /** Where the root tree begins, which names all other trees. */
  get root(): BlockPlace {
    const { root, rootLevel } = this.#fields;
    return { address: root, level: rootLevel, generation: this.#superblock.generation };
  }

  /** Where the log of what was fsynced since the last commit begins; null when there is none. */
  get logRoot(): BlockPlace | null {
    const { logRoot, logRootLevel, generation } = this.#superblock;
    if (logRoot === 0n) return null;
    return { address: logRoot, level: logRootLevel, generation: generation + 1n };
  }

  /** Where the root trees of the commits before this one begin, the newest first. */
  get backupRoots(): readonly BlockPlace[] {
    const { backups } = this.#fields;
    const places: BlockPlace[] = [];
    for (let at = 0; at < backups.length; at += backupFields.sizeBytes) {
      const { root, generation, rootLevel } = backupFields.decode(backups.subarray(at));
      if (root === 0n || generation >= this.#superblock.generation) continue;
      places.push({ address: root, level: rootLevel, generation });
    }
    return places.toSorted((a, b) => Number(b.generation - a.generation));
  }

  /** The tree of this id, named in the tree of trees; null when there is none. Throws `UnreadableTree`. */
  treeRoot(id: bigint, root = this.root): BlockPlace | null {
    const key = (offset: bigint): Key => ({ objectId: id, type: rootType, offset });
    for (const { data } of this.items(root, key(0n), key(everything))) return placeOf(data);
    return null;
  }

  /** Every tree of the log. Throws `UnreadableTree`. */
  logRoots(log: BlockPlace): readonly BlockPlace[] {
    const key = (offset: bigint): Key => ({ objectId: logObject, type: rootType, offset });
    return [...this.items(log, key(0n), key(everything))].map(({ data }) => placeOf(data));
  }

  /** True when this block is as it must be. */
  isReadable(place: BlockPlace): boolean {
    return this.#blockOrNull(place) !== null;
  }

  /** The items from one key to another. Throws `UnreadableTree`. */
  *items(place: BlockPlace, least: Key = firstKey, most: Key = lastKey): Generator<DiskItem> {
    const block = this.#block(place);
    if (place.level === 0) {
      for (const item of itemsOf(block)) {
        if (compare(item.key, least) >= 0 && compare(item.key, most) <= 0) yield item;
      }
      return;
    }
    const children = childrenOf(block, place.level);
    for (const [i, child] of children.entries()) {
      const next = children[i + 1];
      if (compare(child.key, most) > 0) return;
      if (next === undefined || compare(next.key, least) > 0) yield* this.items(child, least, most);
    }
  }

  /** The last item that is not behind this key; null when all are. Throws `UnreadableTree`. */
  #lastUpTo(place: BlockPlace, key: Key): DiskItem | null {
    const block = this.#block(place);
    const isUpTo = (one: { readonly key: Key }): boolean => compare(one.key, key) <= 0;
    if (place.level === 0) return itemsOf(block).findLast(isUpTo) ?? null;
    const child = childrenOf(block, place.level).findLast(isUpTo);
    return child === undefined ? null : this.#lastUpTo(child, key);
  }

  #block(place: BlockPlace): Uint8Array {
    const block = this.#blockOrNull(place);
    if (block === null) throw new UnreadableTree(`the block at ${place.address} cannot be read`);
    return block;
  }

  #blockOrNull(place: BlockPlace): Uint8Array | null {
    this.#blocksRead += 1;
    if (this.#blocksRead > mostBlocks) throw new TooManyBlocks(`more than ${mostBlocks} blocks`);
    if (place.level >= levels) return null;
    const chunk = this.#chunkOf(place.address);
    for (const copy of chunk?.copies ?? []) {
      const block = this.#readOrNull(copy + place.address - (chunk?.start ?? 0n));
      if (block !== null && this.#isAsItMustBe(block, place)) return block;
    }
    return null;
  }

  #readOrNull(offset: bigint): Uint8Array | null {
    const { nodeBytes } = this.#superblock;
    if (nodeBytes > largestBlockBytes || offset > BigInt(Number.MAX_SAFE_INTEGER)) return null;
    try {
      const block = this.#read(Number(offset), nodeBytes);
      const isWhole = block.length === nodeBytes && nodeBytes >= superblockBytes;
      return isWhole ? block : null;
    } catch (error) {
      // The other copy may be elsewhere on the disk.
      if (error instanceof SystemError) return null;
      throw error;
    }
  }

  /** fs/btrfs/disk-io.c, btrfs_validate_extent_buffer() */
  #isAsItMustBe(block: Uint8Array, place: BlockPlace): boolean {
    const { checksumType, deviceFsid } = this.#superblock;
    const fields = header.decode(block);
    const checksum = checksumOf(block, checksumType);
    return (
      fields.address === place.address &&
      fields.level === place.level &&
      fields.generation === place.generation &&
      uuidText(fields.fsid) === deviceFsid &&
      checksum !== null &&
      holdsAt(block, checksum, 0)
    );
  }

  #chunkOf(address: bigint): Chunk | null {
    const isIn = ({ start, lengthBytes }: Chunk): boolean =>
      address >= start && address < start + lengthBytes;
    const known = this.#systemChunks.find(isIn) ?? [...this.#chunks.values()].find(isIn);
    // The chunk tree itself lies where the superblock says, or nothing could be looked up in it.
    if (known !== undefined || this.#isLookingUp) return known ?? null;
    const key = { objectId: chunkObject, type: chunkType, offset: address };
    const item = this.#lookUp(key);
    if (item === null || item.key.type !== chunkType) return null;
    const chunk = this.#chunkFrom(item.key.offset, item.data);
    if (chunk === null || !isIn(chunk)) return null;
    this.#chunks.set(chunk.start, chunk);
    return chunk;
  }

  /** In the chunk tree. */
  #lookUp(key: Key): DiskItem | null {
    this.#isLookingUp = true;
    try {
      return this.#lastUpTo(this.chunkRoot, key);
    } catch (error) {
      if (error instanceof UnreadableTree) return null;
      throw error;
    } finally {
      this.#isLookingUp = false;
    }
  }

  /** The chunks of the chunk tree itself stand in the superblock: pairs of a key and a chunk. */
  #readSystemChunks(): readonly Chunk[] {
    const { systemChunks, systemChunksBytes } = this.#fields;
    const bytes = systemChunks.subarray(0, systemChunksBytes);
    const chunks: Chunk[] = [];
    for (let at = 0; at + diskKey.sizeBytes + chunkFields.sizeBytes <= bytes.length; ) {
      const { offset } = diskKey.decode(bytes.subarray(at));
      at += diskKey.sizeBytes;
      const { stripeCount } = chunkFields.decode(bytes.subarray(at));
      const chunk = this.#chunkFrom(offset, bytes.subarray(at));
      if (chunk !== null) chunks.push(chunk);
      at += chunkFields.sizeBytes + stripeCount * stripeFields.sizeBytes;
    }
    return chunks;
  }

  /** null for a chunk that is cut off, or of which no copy is on this disk in one piece. */
  #chunkFrom(start: bigint, data: Uint8Array): Chunk | null {
    if (data.length < chunkFields.sizeBytes) return null;
    const { lengthBytes, type, stripeCount } = chunkFields.decode(data);
    if (data.length < chunkFields.sizeBytes + stripeCount * stripeFields.sizeBytes) return null;
    if ((type & striped) !== 0n && stripeCount > 1) return null;
    const copies: bigint[] = [];
    for (let i = 0; i < stripeCount; i++) {
      const at = chunkFields.sizeBytes + i * stripeFields.sizeBytes;
      const { deviceId, offset } = stripeFields.decode(data.subarray(at));
      if (deviceId === this.#superblock.deviceId) copies.push(offset);
    }
    return { start, lengthBytes, copies };
  }
}

/** What an item of a tree of trees says; throws `UnreadableTree` for one that is cut off. */
function placeOf(data: Uint8Array): BlockPlace {
  if (data.length < rootItem.sizeBytes) throw new UnreadableTree("a root item is too short");
  return rootItem.decode(data);
}

/** How many of these have room in a block, however many it says it has. */
const countIn = (block: Uint8Array, sizeBytes: number): number =>
  Math.min(
    header.decode(block).itemCount,
    Math.floor((block.length - header.sizeBytes) / sizeBytes),
  );

function itemsOf(block: Uint8Array): readonly DiskItem[] {
  return Array.from({ length: countIn(block, leafItem.sizeBytes) }, (_, i) => {
    const item = block.subarray(header.sizeBytes + i * leafItem.sizeBytes);
    const { dataOffset, dataBytes } = leafItem.decode(item);
    const start = header.sizeBytes + dataOffset;
    return { key: diskKey.decode(item), data: block.subarray(start, start + dataBytes) };
  });
}

const childrenOf = (block: Uint8Array, level: number): readonly Child[] =>
  Array.from({ length: countIn(block, pointer.sizeBytes) }, (_, i) => {
    const at = block.subarray(header.sizeBytes + i * pointer.sizeBytes);
    return { key: diskKey.decode(at), level: level - 1, ...pointer.decode(at) };
  });
