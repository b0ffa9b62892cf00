import { type BlockPlace, DiskTrees, TooManyBlocks, UnreadableTree } from "../btrfs/disk-trees.ts";
import type { Superblock } from "../btrfs/superblock.ts";
import { everything } from "../btrfs/tree-search.ts";
import { struct, u64 } from "../linux/struct.ts";
import type { Disk } from "./disk.ts";

/** Why the kernel mounts no filesystem whose superblock is sound. */
export type Diagnosis =
  /** The filesystem has several devices, and this is the only one of them here. */
  | { readonly kind: "devices"; readonly count: number }
  /** The map from logical addresses to the disk: without it nothing else is found. */
  | { readonly kind: "chunk-tree" }
  /** `hasBackup`: the tree of an older commit is intact. */
  | { readonly kind: "root-tree"; readonly hasBackup: boolean }
  /** A `btrfs replace` was cut short, and its other disk is not there. */
  | { readonly kind: "replace" }
  /** What was fsynced since the last commit. */
  | { readonly kind: "log" }
  /** Others, by their names. */
  | { readonly kind: "trees"; readonly names: readonly string[]; readonly hasBackup: boolean };

/** uapi/linux/btrfs_tree.h: the trees that every mount needs, but those that a filesystem need not have. */
const trees: readonly (readonly [id: bigint, name: string])[] = [
  [2n, "extent"],
  [4n, "device"],
  [5n, "top-level subvolume"],
  [7n, "checksum"],
  [9n, "UUID"],
  [10n, "free space"],
  [11n, "block group"],
  [everything - 8n, "data relocation"],
];
const extentTree = 2n;
const deviceTree = 4n;

/** BTRFS_DEV_ITEMS_OBJECTID, BTRFS_DEV_ITEM_KEY */
const deviceItems = 1n;
const deviceItemType = 216;
/** BTRFS_DEV_REPLACE_KEY of object 0; struct btrfs_dev_replace_item; BTRFS_IOCTL_DEV_REPLACE_STATE_* */
const replaceType = 250;
const replaceItem = struct(72, { state: u64(32) });
const startedOrSuspended: readonly bigint[] = [1n, 4n];

/** BTRFS_FEATURE_INCOMPAT_ZONED, EXTENT_TREE_V2, REMAP_TREE: with these, trees lie otherwise than they are looked for here. */
const otherLayouts = (1n << 12n) | (1n << 13n) | (1n << 17n);

const treesOn = (disk: Disk, superblock: Superblock): DiskTrees =>
  new DiskTrees(superblock, (offset, length) => disk.read(offset, length));

/** What `look` finds; null where it would have to read more than it is worth. */
function withinReason<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof TooManyBlocks) return null;
    throw error;
  }
}

/** What `look` finds; `otherwise` where a tree cannot be read on the way. */
function readable<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch (error) {
    if (error instanceof UnreadableTree) return otherwise;
    throw error;
  }
}

/**
 * Whether a filesystem whose superblock says that it has several devices really has: the kernel counts them in the
 * chunk tree, and mends the number when it mounts. Where they cannot be counted, the superblock is believed.
 * @public Loaded where it is needed.
 */
export function hasSeveralDevices(disk: Disk, superblock: Superblock): boolean {
  if (superblock.deviceCount <= 1n) return false;
  return withinReason(() => countDevices(treesOn(disk, superblock))) !== 1;
}

/** null where they cannot be counted. */
function countDevices(found: DiskTrees): number | null {
  const key = (offset: bigint) => ({ objectId: deviceItems, type: deviceItemType, offset });
  return readable(() => {
    let count = 0;
    for (const _ of found.items(found.chunkRoot, key(0n), key(everything))) count += 1;
    return count;
  }, null);
}

/** Looks for the reason on the disk; null where nothing is found that would be one. */
export function diagnose(disk: Disk, superblock: Superblock): Diagnosis | null {
  if ((superblock.incompatFlags & otherLayouts) !== 0n) return null;
  return withinReason(() => diagnoseTrees(treesOn(disk, superblock)));
}

function diagnoseTrees(found: DiskTrees): Diagnosis | null {
  const count = countDevices(found);
  if (count === null) return { kind: "chunk-tree" };
  if (count > 1) return { kind: "devices", count };
  const hasBackup = found.backupRoots.some((place) => isUsable(found, place));
  const names = readable(() => unreadableTrees(found), null);
  if (names === null) return { kind: "root-tree", hasBackup };
  if (names.length > 0) return { kind: "trees", names, hasBackup };
  if (readable(() => isReplacing(found), false)) return { kind: "replace" };
  return isLogReadable(found) ? null : { kind: "log" };
}

const unreadableTrees = (found: DiskTrees): readonly string[] =>
  trees
    .filter(([id]) => {
      const root = found.treeRoot(id);
      return root !== null && !found.isReadable(root);
    })
    .map(([, name]) => name);

/** The kernel goes back to an older commit for the tree of trees and the extent tree, and for no other. */
function isUsable(found: DiskTrees, place: BlockPlace): boolean {
  return readable(() => {
    const extents = found.treeRoot(extentTree, place);
    return extents !== null && found.isReadable(extents);
  }, false);
}

function isReplacing(found: DiskTrees): boolean {
  const root = found.treeRoot(deviceTree);
  if (root === null) return false;
  const key = { objectId: 0n, type: replaceType, offset: 0n };
  for (const { data } of found.items(root, key, key)) {
    return (
      data.length >= replaceItem.sizeBytes &&
      startedOrSuspended.includes(replaceItem.decode(data).state)
    );
  }
  return false;
}

function isLogReadable(found: DiskTrees): boolean {
  const { logRoot } = found;
  if (logRoot === null) return true;
  return readable(() => {
    for (const root of found.logRoots(logRoot)) for (const _ of found.items(root));
    return true;
  }, false);
}
