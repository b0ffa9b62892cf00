import { iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u32, u64 } from "../linux/struct.ts";
import { named } from "./ioctls.ts";

/** uapi/linux/btrfs.h: struct btrfs_ioctl_search_args_v2 (a search key, then the buffer's size) */
const searchArguments = struct(112, {
  treeId: u64(0),
  leastObjectId: u64(8),
  mostObjectId: u64(16),
  leastOffset: u64(24),
  mostOffset: u64(32),
  leastTransaction: u64(40),
  mostTransaction: u64(48),
  leastType: u32(56),
  mostType: u32(60),
  itemCount: u32(64),
  bufferBytes: u64(104),
});
/** struct btrfs_ioctl_search_header */
const searchHeader = struct(32, {
  objectId: u64(8),
  offset: u64(16),
  type: u32(24),
  length: u32(28),
});
const TREE_SEARCH_V2 = iowr(0x94, 17, searchArguments.sizeBytes);

export const everything = 0xffff_ffff_ffff_ffffn;
const mostType = 255;

/** struct btrfs_key. Keys are in the order of the object's id, then of the type, then of the offset. */
export interface Key {
  readonly objectId: bigint;
  readonly type: number;
  readonly offset: bigint;
}

export interface Item {
  readonly key: Key;
  readonly data: Uint8Array;
}

/** The key after this one in the order of all keys; null after the last. */
export function nextKey({ objectId, type, offset }: Key): Key | null {
  if (offset < everything) return { objectId, type, offset: offset + 1n };
  if (type < mostType) return { objectId, type: type + 1, offset: 0n };
  return objectId < everything ? { objectId: objectId + 1n, type: 0, offset: 0n } : null;
}

/**
 * The items of a tree of the mounted filesystem from one key to another, whatever their type. What changes
 * meanwhile may be missing, and nothing comes twice. Needs root.
 */
export function* searchTree(
  kernel: Kernel,
  mounted: number,
  treeId: bigint,
  least: Key,
  most: Key,
  bufferBytes: number,
): Generator<Item> {
  const buffer = new Uint8Array(new ArrayBuffer(searchArguments.sizeBytes + bufferBytes));
  for (let from: Key | null = least; from !== null; ) {
    searchArguments.patch(buffer, {
      treeId,
      leastObjectId: from.objectId,
      mostObjectId: most.objectId,
      leastOffset: from.offset,
      mostOffset: most.offset,
      mostTransaction: everything,
      leastType: from.type,
      mostType: most.type,
      itemCount: 4096,
      bufferBytes: BigInt(bufferBytes),
    });
    named("BTRFS_IOC_TREE_SEARCH_V2", undefined, () =>
      kernel.ioctl(mounted, TREE_SEARCH_V2, buffer),
    );
    const { itemCount } = searchArguments.decode(buffer);
    if (itemCount === 0) return;
    let at = searchArguments.sizeBytes;
    for (let i = 0; i < itemCount; i++) {
      const { length, ...key } = searchHeader.decode(buffer.subarray(at));
      at += searchHeader.sizeBytes;
      from = nextKey(key);
      yield { key, data: buffer.slice(at, at + length) };
      at += length;
    }
  }
}
