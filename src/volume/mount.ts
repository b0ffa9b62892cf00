import { replaceTargetId } from "../btrfs/ioctls.ts";
import type { Superblock } from "../btrfs/superblock.ts";
import { Errno, isErrno, type SystemError } from "../linux/errno.ts";
import { readLineOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Disk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { startAnew } from "./filesystem.ts";
import { shellWord } from "./shell-word.ts";

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

export const refused = (device: string, why: string, hint?: string, cause?: unknown): VolumeError =>
  new VolumeError("mount-failed", `${device} cannot be mounted: ${why}`, { hint, cause });

/**
 * Bits of the superblock's flags that btrfstune sets when it begins and clears when it is done (BTRFS_SUPER_FLAG_CHANGING_*
 * of btrfs-progs), with the command that goes on where it was stopped.
 */
const unfinished: readonly (readonly [
  bit: bigint,
  what: string,
  how: (device: string) => string,
])[] = [
  [35n, "a change of the UUID", (device) => `btrfstune -f -u ${device}`],
  [
    36n,
    "a change of the metadata UUID",
    (device) => `btrfstune -f -m ${device} (of btrfs-progs 6.14 or later)`,
  ],
  [
    38n,
    "the conversion to a block group tree",
    (device) => `btrfstune --convert-to-block-group-tree ${device} (of btrfs-progs 6.14 or later)`,
  ],
  [
    39n,
    "a change of the checksums of the data",
    () => "btrfstune --csum, of the btrfs-progs that began it",
  ],
  [
    40n,
    "a change of the checksums of the metadata",
    () => "btrfstune --csum, of the btrfs-progs that began it",
  ],
];

/**
 * What the superblock tells beforehand of a filesystem that this kernel will not mount, whatever else it holds; null
 * where nothing speaks against it. A sound one of a usual kind costs no system call.
 */
export function unmountable(
  kernel: Kernel,
  device: string,
  superblock: Superblock,
): VolumeError | null {
  const { flags, deviceId, deviceCount, totalBytes, deviceBytes, sectorBytes } = superblock;
  const word = shellWord(device);
  const change = unfinished.find(([bit]) => (flags & (1n << bit)) !== 0n);
  if (change !== undefined) {
    const [, what, how] = change;
    const hint = `finish it: ${how(word)}; ${startAnew(device)}`;
    return refused(device, `${what} by btrfstune was interrupted`, hint);
  }
  if (deviceId === replaceTargetId) {
    return refused(
      device,
      "it is the new disk of a btrfs replace that is not done",
      "the old disk holds the data: give that one",
    );
  }
  if (deviceCount === 1n && totalBytes < deviceBytes) {
    return refused(
      device,
      `its superblock gives the filesystem ${totalBytes} bytes, and its device ${deviceBytes}`,
      `btrfs rescue fix-device-size ${word}, then volume up`,
    );
  }
  return sectorBytes === usualSectorBytes ? null : unsupportedSectors(kernel, device, sectorBytes);
}

/** Every kernel has had these, whatever its pages. */
const usualSectorBytes = 4096;

function unsupportedSectors(
  kernel: Kernel,
  device: string,
  sectorBytes: number,
): VolumeError | null {
  const supported = readLineOrNull(kernel, "/sys/fs/btrfs/features/supported_sectorsizes");
  const sizes = supported?.split(" ") ?? [String(kernel.pageBytes())];
  if (sizes.includes(String(sectorBytes))) return null;
  return new VolumeError(
    "unsupported",
    `${device} has sectors of ${sectorBytes} bytes, and this kernel mounts those of ${sizes.join(", ")}`,
    {
      hint: `use a kernel with pages of ${sectorBytes} bytes, such as the one that made it; ${startAnew(device)}`,
    },
  );
}

/** A filesystem that is not mounted. */
export interface FoundOnDisk {
  readonly disk: Disk;
  readonly superblock: Superblock;
}

/** Loaded with the first mount that fails, for no warm boot needs it. */
export function whyNotMounted(
  kernel: Kernel,
  device: string,
  found: FoundOnDisk,
  cause?: unknown,
): VolumeError | null {
  const { whyNot } = require("./why-not.ts") as typeof import("./why-not.ts");
  return whyNot(kernel, device, found, cause);
}

/** What a failed mount(2) of a filesystem whose superblock is sound means for the user. */
export function mountError(
  kernel: Kernel,
  device: string,
  found: FoundOnDisk | null,
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
  const reason = found === null ? null : whyNotMounted(kernel, device, found, error);
  return (
    reason ??
    new VolumeError("mount-failed", about, {
      cause: error,
      hint:
        "see the kernel's log (dmesg); then try, in this order: mount -o rescue=usebackuproot, " +
        `which may lose the last seconds, then mount -o ro,rescue=all to copy the data off; ${startAnew(device)}`,
    })
  );
}
