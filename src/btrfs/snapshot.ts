import { Errno, SystemError } from "../linux/errno.ts";
import { iow } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { raw, struct, u64 } from "../linux/struct.ts";
import { nameBytes } from "../linux/text.ts";
import { named } from "./ioctls.ts";

/** uapi/linux/btrfs.h: struct btrfs_ioctl_vol_args_v2 */
const volumeArgumentsV2 = struct(4096, { fd: u64(0), flags: u64(16), name: raw(56, 4040) });
const nameLimitBytes = 4039;
const SNAP_CREATE_V2 = iow(0x94, 23, volumeArgumentsV2.sizeBytes);
const SNAP_DESTROY_V2 = iow(0x94, 63, volumeArgumentsV2.sizeBytes);

/** BTRFS_SUBVOL_RDONLY */
const readOnlyFlag = 2n;

function encode(call: string, name: string, fd: number, flags: bigint): Uint8Array {
  const bytes = nameBytes(name);
  if (bytes.length > nameLimitBytes) throw new SystemError(call, Errno.ENAMETOOLONG, name);
  return volumeArgumentsV2.encode({ fd: BigInt(fd), flags, name: bytes });
}

/** Makes a snapshot `name` of the subvolume `source` (descriptors) in the open `directory`. */
export function createSnapshot(
  kernel: Kernel,
  directory: number,
  name: string,
  source: number,
  readOnly: boolean,
): void {
  const call = "BTRFS_IOC_SNAP_CREATE_V2";
  const argument = encode(call, name, source, readOnly ? readOnlyFlag : 0n);
  named(call, name, () => kernel.ioctl(directory, SNAP_CREATE_V2, argument));
}

/**
 * Deletes the subvolume `name` in the open `directory`: at once out of sight, its space freed later.
 * ENOTEMPTY when another subvolume is inside; one that is mounted elsewhere goes too.
 */
export function deleteSubvolume(kernel: Kernel, directory: number, name: string): void {
  const call = "BTRFS_IOC_SNAP_DESTROY_V2";
  const argument = encode(call, name, 0, 0n);
  named(call, name, () => kernel.ioctl(directory, SNAP_DESTROY_V2, argument));
}
