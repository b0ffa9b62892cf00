import type { Superblock } from "../btrfs/superblock.ts";
import { Errno, isErrno, type SystemError } from "../linux/errno.ts";
import { namesIn } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";

/** Feature bits (struct btrfs_super_block, incompat_flags) and their names in /sys/fs/btrfs/features. */
const incompatFeatures: readonly (readonly [bit: bigint, name: string])[] = [
  [9n, "no_holes"],
  [10n, "metadata_uuid"],
  [11n, "raid1c34"],
  [12n, "zoned"],
  [13n, "extent_tree_v2"],
  [14n, "raid_stripe_tree"],
  [16n, "simple_quota"],
  [17n, "remap_tree"],
];
/** Bits 0 to 8 are in every kernel that can run this program. */
const oldestIncompatBits = 0x1ffn;

/** compat_ro_flags, likewise: a kernel that lacks one can still mount the filesystem read-only. */
const readOnlyFeatures: readonly (readonly [bit: bigint, name: string])[] = [
  [2n, "verity"],
  [3n, "block_group_tree"],
];
const oldestReadOnlyBits = 0x3n;

/** Names, or bits without a name, of what this filesystem uses and this kernel lacks. */
export function missingFeatures(
  superblock: Superblock,
  kernelFeatures: readonly string[],
): string[] {
  let unknown = superblock.incompatFlags & ~oldestIncompatBits;
  const missing: string[] = [];
  for (const [bit, name] of incompatFeatures) {
    if ((superblock.incompatFlags & (1n << bit)) === 0n) continue;
    unknown &= ~(1n << bit);
    if (!kernelFeatures.includes(name)) missing.push(name);
  }
  let unknownReadOnly = superblock.compatReadOnlyFlags & ~oldestReadOnlyBits;
  for (const [bit, name] of readOnlyFeatures) {
    if ((superblock.compatReadOnlyFlags & (1n << bit)) === 0n) continue;
    unknownReadOnly &= ~(1n << bit);
    if (!kernelFeatures.includes(name)) missing.push(name);
  }
  const bits = [unknown, unknownReadOnly].filter((set) => set !== 0n);
  return [...missing, ...bits.map((set) => `0x${set.toString(16)}`)];
}

/** What a failed mount(2) of a filesystem whose superblock is sound means for the user. */
export function mountError(
  kernel: Kernel,
  device: string,
  superblock: Superblock | null,
  error: SystemError,
): VolumeError {
  const about = `${device} cannot be mounted: ${error.message}`;
  if (isErrno(error, Errno.EBUSY)) {
    return new VolumeError("busy", `${device} is in use by something else`, {
      cause: error,
      hint: "see who holds it: lsblk, dmsetup ls, /proc/swaps",
    });
  }
  if (isErrno(error, Errno.EPERM)) {
    return new VolumeError("permission", about, { cause: error, hint: "run it as root" });
  }
  if (isErrno(error, Errno.ENODEV)) {
    return new VolumeError("unsupported", "this kernel has no Btrfs", {
      cause: error,
      hint: "load its module (modprobe btrfs) or use a kernel that has it",
    });
  }
  if (isErrno(error, Errno.EEXIST)) {
    return new VolumeError("mount-failed", about, {
      cause: error,
      hint: "a filesystem with the same UUID is mounted from another disk: is one a copy of the other?",
    });
  }
  if (isErrno(error, Errno.EROFS, Errno.EACCES)) {
    return new VolumeError("read-only", `${device} can only be mounted read-only`, {
      cause: error,
      hint: "see the kernel's log (dmesg) for the reason",
    });
  }
  const missing =
    superblock === null
      ? []
      : missingFeatures(superblock, namesIn(kernel, "/sys/fs/btrfs/features"));
  const hint =
    missing.length > 0
      ? `it uses features this kernel does not know (${missing.join(", ")}): use a newer kernel`
      : "see the kernel's log (dmesg); then try, in this order: mount -o rescue=usebackuproot, " +
        "which may lose the last seconds, then mount -o ro,rescue=all to copy the data off";
  return new VolumeError("mount-failed", about, { cause: error, hint });
}
