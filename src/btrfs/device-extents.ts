import type { Kernel } from "../linux/kernel.ts";
import { struct, u64 } from "../linux/struct.ts";
import { everything, type Key, searchTree } from "./tree-search.ts";

/** uapi/linux/btrfs_tree.h: BTRFS_DEV_TREE_OBJECTID, BTRFS_DEV_EXTENT_KEY, struct btrfs_dev_extent */
const deviceTree = 4n;
const deviceExtentKey = 204;
const deviceExtent = struct(48, { lengthBytes: u64(24) });

const bufferBytes = 64 * 1024;

/** Where on a device of a mounted filesystem the last chunk ends, in bytes. Needs root. */
export function endOfChunks(kernel: Kernel, mounted: number, deviceId: bigint): bigint {
  const key = (offset: bigint): Key => ({ objectId: deviceId, type: deviceExtentKey, offset });
  const items = searchTree(kernel, mounted, deviceTree, key(0n), key(everything), bufferBytes);
  let end = 0n;
  for (const item of items) {
    end = item.key.offset + deviceExtent.decode(item.data).lengthBytes;
  }
  return end;
}
