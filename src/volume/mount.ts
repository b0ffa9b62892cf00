import type { Superblock } from "../btrfs/superblock.ts";
import { Errno, isErrno, reasonOf, type SystemError } from "../linux/errno.ts";
import { makeDirectoryBeneath, namesIn, procPath, withFd } from "../linux/files.ts";
import { type Kernel, MNT_DETACH, MS_NOATIME, UMOUNT_NOFOLLOW } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import type { Root, Target } from "./targets.ts";

/** Of a directory made to be mounted on; once mounted, the subvolume's own mode counts. */
const mountPointMode = 0o755;

/** A mount of this run that a failure could not take back, and why. */
export interface StillMounted {
  readonly target: Target;
  readonly reason: string;
}

/**
 * Mounts of this run, so that a failure takes them back in reverse order: no daemon
 * may find half a volume.
 */
export class MountJournal {
  readonly #targets: Target[] = [];
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Makes the target's directory where it is missing, mounts on it, and remembers. */
  mount(root: Root, target: Target, device: string, data: string): void {
    const fd = makeTargetDirectory(this.#kernel, root, target);
    withFd(this.#kernel, fd, () => {
      // Through the descriptor: whoever swaps a directory for a link now is too late.
      this.#kernel.mount(device, procPath(fd), "btrfs", MS_NOATIME, data);
      this.#targets.push(target);
    });
  }

  get isEmpty(): boolean {
    return this.#targets.length === 0;
  }

  /** Unmounts what was mounted, and gives what would not go. */
  undo(): readonly StillMounted[] {
    const left: StillMounted[] = [];
    for (const target of this.#targets.splice(0).reverse()) {
      try {
        this.#unmount(target.path);
      } catch (error) {
        left.push({ target, reason: reasonOf(error) });
      }
    }
    return left;
  }

  #unmount(path: string): void {
    try {
      this.#kernel.unmount(path, UMOUNT_NOFOLLOW);
    } catch (error) {
      // Somebody walked in already; out of sight it does no harm.
      if (!isErrno(error, Errno.EBUSY)) throw error;
      this.#kernel.unmount(path, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
  }
}

function makeTargetDirectory(kernel: Kernel, root: Root, target: Target): number {
  try {
    return makeDirectoryBeneath(kernel, root.fd, target.relativePath, mountPointMode);
  } catch (error) {
    if (isErrno(error, Errno.EROFS)) {
      throw new VolumeError("mount-failed", `the mount point ${target.path} cannot be made`, {
        cause: error,
        hint: "the filesystem it belongs on is read-only: make the directory beforehand",
      });
    }
    if (isErrno(error, Errno.ENOSPC, Errno.EDQUOT)) {
      throw new VolumeError("no-space", `there is no space to make ${target.path}`, {
        cause: error,
      });
    }
    throw error;
  }
}

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
