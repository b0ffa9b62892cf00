import { Errno, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u16, u64 } from "../linux/struct.ts";
import { fromUtf8 } from "../linux/text.ts";
import { subvolumeRootInode } from "./ioctls.ts";
import { everything, searchTree } from "./tree-search.ts";

/** uapi/linux/btrfs_tree.h: struct btrfs_root_ref and struct btrfs_inode_ref; the name stands behind each. */
const rootRef = struct(18, { directoryId: u64(0), nameLength: u16(16) });
const inodeRef = struct(10, { nameLength: u16(8) });

/** BTRFS_ROOT_TREE_OBJECTID, BTRFS_FS_TREE_OBJECTID, BTRFS_FIRST_ and BTRFS_LAST_FREE_OBJECTID */
const rootTree = 1n;
const topLevel = 5n;
const firstObjectId = 256n;
const lastObjectId = 0xffff_ffff_ffff_ff00n;
/** BTRFS_INODE_REF_KEY, BTRFS_ROOT_BACKREF_KEY */
const inodeRefType = 12;
const rootBackrefType = 144;

const manyBytes = 64 * 1024;
/** For one item, whose name has at most 255 bytes. */
const fewBytes = 4096;

export interface SubvolumeEntry {
  readonly id: bigint;
  readonly parentId: bigint;
  /** From the top of the filesystem; a byte that is no UTF-8 as in `fromUtf8`, so that it finds the subvolume again. */
  readonly path: string;
}

/** Where something has its name: a subvolume in a directory of another, a directory in another. */
interface Reference {
  readonly parentId: bigint;
  readonly directoryId: bigint;
  readonly name: string;
}

/** No kernel makes such a name, and joined to a path it would lead somewhere else. */
const isCrafted = (name: string): boolean =>
  name === "" || name === "." || name === ".." || /[/\0]/.test(name);

/** The name at the end of a reference. Throws EUCLEAN for one that only a crafted filesystem has. */
function nameAt(data: Uint8Array, at: number, length: number, owner: bigint): string {
  const bytes = data.subarray(at, at + length);
  const name = fromUtf8(bytes);
  if (bytes.length === length && !isCrafted(name)) return name;
  throw new SystemError("BTRFS_IOC_TREE_SEARCH_V2", Errno.EUCLEAN, `the name of ${owner}`);
}

/** Where each subvolume has its name, by its id. */
function subvolumeReferences(kernel: Kernel, mounted: number): ReadonlyMap<bigint, Reference> {
  const found = new Map<bigint, Reference>();
  const least = { objectId: firstObjectId, type: rootBackrefType, offset: 0n };
  const most = { objectId: lastObjectId, type: rootBackrefType, offset: everything };
  for (const { key, data } of searchTree(kernel, mounted, rootTree, least, most, manyBytes)) {
    // The search goes through keys in order, so other types lie between the least and the most.
    if (key.type !== rootBackrefType) continue;
    const { directoryId, nameLength } = rootRef.decode(data);
    const name = nameAt(data, rootRef.sizeBytes, nameLength, key.objectId);
    found.set(key.objectId, { parentId: key.offset, directoryId, name });
  }
  return found;
}

/** Where a directory of a subvolume has its name; null when it is not there any more. */
function directoryReference(
  kernel: Kernel,
  mounted: number,
  { treeId, directoryId }: Place,
): Reference | null {
  const key = { objectId: directoryId, type: inodeRefType };
  const least = { ...key, offset: 0n };
  const most = { ...key, offset: everything };
  // A directory has one name.
  for (const item of searchTree(kernel, mounted, treeId, least, most, fewBytes)) {
    const { nameLength } = inodeRef.decode(item.data);
    const name = nameAt(item.data, inodeRef.sizeBytes, nameLength, directoryId);
    return { parentId: treeId, directoryId: item.key.offset, name };
  }
  return null;
}

/** A directory; that of a subvolume itself has the number `subvolumeRootInode`. */
interface Place {
  readonly treeId: bigint;
  readonly directoryId: bigint;
}

/** Finds the paths of directories, and remembers them. */
class Paths {
  readonly #referenceOf: (place: Place) => Reference | null;
  readonly #known = new Map<string, string | null>();

  constructor(referenceOf: (place: Place) => Reference | null) {
    this.#referenceOf = referenceOf;
    this.#known.set(keyOf({ treeId: topLevel, directoryId: subvolumeRootInode }), "");
  }

  /**
   * From the top of the filesystem. null where no way leads there: what is read one after the other may be
   * of different times, and may even lead back to where it began. Not by recursion, because anybody may
   * put a subvolume into another as often as he likes.
   */
  of(place: Place): string | null {
    const onTheWay: { readonly key: string; readonly name: string }[] = [];
    const seen = new Set<string>();
    let path: string | null | undefined;
    for (let at = place; path === undefined; ) {
      const key = keyOf(at);
      path = seen.has(key) ? null : this.#known.get(key);
      if (path !== undefined) break;
      seen.add(key);
      const reference = this.#referenceOf(at);
      if (reference === null) path = null;
      else at = { treeId: reference.parentId, directoryId: reference.directoryId };
      onTheWay.push({ key, name: reference?.name ?? "" });
    }
    for (const { key, name } of onTheWay.reverse()) {
      if (path !== null) path = path === "" ? name : `${path}/${name}`;
      this.#known.set(key, path);
    }
    return path;
  }
}

const keyOf = ({ treeId, directoryId }: Place): string => `${treeId}/${directoryId}`;

function listOnce(
  kernel: Kernel,
  mounted: number,
): { entries: readonly SubvolumeEntry[]; isWhole: boolean } {
  const subvolumes = subvolumeReferences(kernel, mounted);
  const paths = new Paths((place) =>
    place.directoryId === subvolumeRootInode
      ? (subvolumes.get(place.treeId) ?? null)
      : directoryReference(kernel, mounted, place),
  );
  const entries = [...subvolumes].flatMap(([id, { parentId }]) => {
    const path = paths.of({ treeId: id, directoryId: subvolumeRootInode });
    return path === null ? [] : [{ id, parentId, path }];
  });
  return { entries, isWhole: entries.length === subvolumes.size };
}

/** So often a list is made anew in which something was moved meanwhile. */
const attempts = 3;

/**
 * All subvolumes of a mounted filesystem, in the order of their ids. One that is deleted or moved again and
 * again meanwhile may be missing. Throws EUCLEAN for a name that no kernel makes. Needs root.
 */
export function listSubvolumes(kernel: Kernel, mounted: number): readonly SubvolumeEntry[] {
  for (let attempt = 1; ; attempt++) {
    const { entries, isWhole } = listOnce(kernel, mounted);
    if (isWhole || attempt === attempts) return entries;
  }
}
