import { iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { raw, struct, u16, u32, u64 } from "../linux/struct.ts";
import { fromUtf8, textUntilNul } from "../linux/text.ts";
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
/** struct btrfs_root_ref; the name stands behind it */
const rootRef = struct(18, { directoryId: u64(0), nameLength: u16(16) });
/** struct btrfs_ioctl_ino_lookup_args */
const inodeLookup = struct(4096, { treeId: u64(0), objectId: u64(8), name: raw(16, 4080) });

const TREE_SEARCH_V2 = iowr(0x94, 17, searchArguments.sizeBytes);
const INO_LOOKUP = iowr(0x94, 18, inodeLookup.sizeBytes);

/** BTRFS_ROOT_TREE_OBJECTID, BTRFS_ROOT_BACKREF_KEY, BTRFS_LAST_FREE_OBJECTID */
const rootTree = 1n;
const rootBackref = 144;
const topLevel = 5n;
const lastObjectId = 0xffff_ffff_ffff_ff00n;
const everything = 0xffff_ffff_ffff_ffffn;
const bufferBytes = 64 * 1024;

export interface SubvolumeEntry {
  readonly id: bigint;
  readonly parentId: bigint;
  /** From the top of the filesystem. */
  readonly path: string;
}

interface Reference {
  readonly parentId: bigint;
  readonly directoryId: bigint;
  readonly name: string;
}

/** Every ROOT_BACKREF item, by the id of the subvolume that it names. */
function references(kernel: Kernel, mounted: number): Map<bigint, Reference> {
  const found = new Map<bigint, Reference>();
  let leastObjectId = 256n;
  let leastOffset = 0n;
  for (;;) {
    const argument = new Uint8Array(new ArrayBuffer(searchArguments.sizeBytes + bufferBytes));
    searchArguments.patch(argument, {
      treeId: rootTree,
      leastObjectId,
      mostObjectId: lastObjectId,
      leastOffset,
      mostOffset: everything,
      mostTransaction: everything,
      leastType: rootBackref,
      mostType: rootBackref,
      itemCount: 4096,
      bufferBytes: BigInt(bufferBytes),
    });
    named("BTRFS_IOC_TREE_SEARCH_V2", undefined, () =>
      kernel.ioctl(mounted, TREE_SEARCH_V2, argument),
    );
    const { itemCount } = searchArguments.decode(argument);
    if (itemCount === 0) return found;
    let at = searchArguments.sizeBytes;
    for (let i = 0; i < itemCount; i++) {
      const header = searchHeader.decode(argument.subarray(at));
      at += searchHeader.sizeBytes;
      // The search goes through keys in order, so other types lie between the least and the most.
      if (header.type === rootBackref) {
        const item = argument.subarray(at, at + header.length);
        const { directoryId, nameLength } = rootRef.decode(item);
        const name = fromUtf8(item.subarray(rootRef.sizeBytes, rootRef.sizeBytes + nameLength));
        found.set(header.objectId, { parentId: header.offset, directoryId, name });
      }
      at += header.length;
      leastObjectId = header.objectId;
      leastOffset = header.offset + 1n;
    }
  }
}

/** The path of a directory inside a subvolume, "" or ending in a slash. */
function directoryPath(kernel: Kernel, mounted: number, treeId: bigint, objectId: bigint): string {
  if (objectId === 256n) return "";
  const argument = inodeLookup.encode({ treeId, objectId });
  named("BTRFS_IOC_INO_LOOKUP", `${objectId}`, () => kernel.ioctl(mounted, INO_LOOKUP, argument));
  return textUntilNul(inodeLookup.decode(argument).name);
}

/** All subvolumes of a mounted filesystem, in the order of their ids. Needs root. */
export function listSubvolumes(kernel: Kernel, mounted: number): readonly SubvolumeEntry[] {
  const found = references(kernel, mounted);
  const paths = new Map<bigint, string>();
  const pathOf = (id: bigint): string => {
    const known = paths.get(id);
    if (known !== undefined || id === topLevel) return known ?? "";
    const reference = found.get(id);
    if (reference === undefined) return "";
    const { parentId, directoryId, name } = reference;
    const parent = pathOf(parentId);
    const inside = `${directoryPath(kernel, mounted, parentId, directoryId)}${name}`;
    const path = parent === "" ? inside : `${parent}/${inside}`;
    paths.set(id, path);
    return path;
  };
  return [...found].map(([id, { parentId }]) => ({ id, parentId, path: pathOf(id) }));
}
