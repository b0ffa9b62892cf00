import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { ior, iow, iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { raw, struct, u16, u32, u64 } from "../linux/struct.ts";
import { nameBytes, textUntilNul, uuidText } from "../linux/text.ts";

/** uapi/linux/btrfs.h: BTRFS_IOCTL_MAGIC */
const btrfs = 0x94;

/** struct btrfs_ioctl_vol_args; the name must leave room for its NUL. */
export const volumeArguments = struct(4096, { fd: u64(0), name: raw(8, 4088) });
export const volumeNameLimitBytes = 4087;

/** struct btrfs_ioctl_fs_info_args */
const filesystemInfoArguments = struct(1024, {
  maxDeviceId: u64(0),
  deviceCount: u64(8),
  fsid: raw(16, 16),
  nodeBytes: u32(32),
  sectorBytes: u32(36),
  checksumType: u16(44),
  flags: u64(48),
  generation: u64(56),
});
/** In: also fill in the checksum type and the generation (BTRFS_FS_INFO_FLAG_*). */
const withChecksumAndGeneration = 3n;

/** struct btrfs_ioctl_dev_info_args */
const deviceInfoArguments = struct(4096, {
  deviceId: u64(0),
  uuid: raw(8, 16),
  usedBytes: u64(24),
  totalBytes: u64(32),
  path: raw(3072, 1024),
});

export const RESIZE = iow(btrfs, 3, volumeArguments.sizeBytes);
export const SUBVOL_CREATE = iow(btrfs, 14, volumeArguments.sizeBytes);
export const SUBVOL_GETFLAGS = ior(btrfs, 25, 8);
export const SUBVOL_SETFLAGS = iow(btrfs, 26, 8);
export const DEV_INFO = iowr(btrfs, 30, deviceInfoArguments.sizeBytes);
export const FS_INFO = ior(btrfs, 31, filesystemInfoArguments.sizeBytes);

/** uapi/linux/fs.h. The kernel reads and writes an int, though the numbers say long. */
export const FS_IOC_GETFLAGS = ior(0x66, 1, 8);
export const FS_IOC_SETFLAGS = iow(0x66, 2, 8);
const inodeFlags = struct(8, { flags: u32(0) });
const subvolumeFlags = struct(8, { flags: u64(0) });

/** FS_NOCOW_FL, what `chattr +C` sets. */
export const noCopyOnWrite = 0x00800000;
/** FS_COMPR_FL and FS_NOCOMP_FL, `chattr +c` and `+m`: beside either of them Btrfs refuses FS_NOCOW_FL (EINVAL). */
export const compressionFlags = 0x00000404;
/** BTRFS_SUBVOL_RDONLY */
const readOnlySubvolume = 2n;

/** The argument of RESIZE and SUBVOL_CREATE. Throws ENAMETOOLONG as the kernel would. */
export function encodeVolumeArguments(call: string, name: string): Uint8Array {
  const bytes = nameBytes(name);
  if (bytes.length > volumeNameLimitBytes) throw new SystemError(call, Errno.ENAMETOOLONG, name);
  return volumeArguments.encode({ name: bytes });
}

/** Runs an ioctl and names it in the error, which the kernel's number alone would not. */
export function named<T>(call: string, subject: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof SystemError) throw new SystemError(call, error.errno, subject);
    throw error;
  }
}

/** Makes an empty subvolume `name` in the open directory. Its mode is 0777 less the umask. */
export function createSubvolume(kernel: Kernel, directory: number, name: string): void {
  const argument = encodeVolumeArguments("BTRFS_IOC_SUBVOL_CREATE", name);
  named("BTRFS_IOC_SUBVOL_CREATE", name, () => kernel.ioctl(directory, SUBVOL_CREATE, argument));
}

/** BTRFS_SUBVOL_*. The descriptor must be the subvolume's root (EINVAL otherwise). */
function getSubvolumeFlags(kernel: Kernel, subvolume: number): bigint {
  const argument = subvolumeFlags.encode({});
  named("BTRFS_IOC_SUBVOL_GETFLAGS", undefined, () =>
    kernel.ioctl(subvolume, SUBVOL_GETFLAGS, argument),
  );
  return subvolumeFlags.decode(argument).flags;
}

/** True when the subvolume was made read-only. The descriptor must be its root. */
export const isSubvolumeReadOnly = (kernel: Kernel, subvolume: number): boolean =>
  (getSubvolumeFlags(kernel, subvolume) & readOnlySubvolume) !== 0n;

/** Makes a read-only subvolume writable. EPERM, also to root, while `btrfs send` reads it. */
export function makeSubvolumeWritable(kernel: Kernel, subvolume: number, name: string): void {
  const flags = getSubvolumeFlags(kernel, subvolume) & ~readOnlySubvolume;
  named("BTRFS_IOC_SUBVOL_SETFLAGS", name, () =>
    kernel.ioctl(subvolume, SUBVOL_SETFLAGS, subvolumeFlags.encode({ flags })),
  );
}

/**
 * Resizes one device of a mounted filesystem; `size` is "max" or a number of bytes.
 * "busy" when another exclusive operation (a balance, say) is running: the kernel
 * says so with a positive return value, not with an errno.
 */
export function resize(
  kernel: Kernel,
  mounted: number,
  deviceId: bigint,
  size: "max" | bigint,
): "done" | "busy" {
  const text = `${deviceId}:${size}`;
  const argument = encodeVolumeArguments("BTRFS_IOC_RESIZE", text);
  const result = named("BTRFS_IOC_RESIZE", text, () => kernel.ioctl(mounted, RESIZE, argument));
  return result > 0 ? "busy" : "done";
}

export interface FilesystemInfo {
  /** Filesystem UUID as the kernel knows it now. */
  readonly fsid: string;
  readonly deviceCount: bigint;
  readonly maxDeviceId: bigint;
  readonly sectorBytes: number;
  readonly nodeBytes: number;
  readonly generation: bigint;
}

/** What the kernel says of the mounted filesystem that the descriptor is on. ENOTTY on another. */
export function filesystemInfo(kernel: Kernel, mounted: number): FilesystemInfo {
  const argument = filesystemInfoArguments.encode({ flags: withChecksumAndGeneration });
  named("BTRFS_IOC_FS_INFO", undefined, () => kernel.ioctl(mounted, FS_INFO, argument));
  const fields = filesystemInfoArguments.decode(argument);
  return { ...fields, fsid: uuidText(fields.fsid) };
}

export interface DeviceInfo {
  readonly deviceId: bigint;
  /** Bytes of the device that the filesystem uses. */
  readonly totalBytes: bigint;
  /** Bytes of it that are given to chunks. */
  readonly usedBytes: bigint;
  readonly path: string;
}

/** One device of a mounted filesystem; null when it has none of this id. */
export function deviceInfo(kernel: Kernel, mounted: number, deviceId: bigint): DeviceInfo | null {
  const argument = deviceInfoArguments.encode({ deviceId });
  try {
    named("BTRFS_IOC_DEV_INFO", `${deviceId}`, () => kernel.ioctl(mounted, DEV_INFO, argument));
  } catch (error) {
    if (isErrno(error, Errno.ENODEV)) return null;
    throw error;
  }
  const fields = deviceInfoArguments.decode(argument);
  return { ...fields, path: textUntilNul(fields.path) };
}

/** Device ids are handed out upward and never again; a volume has hardly seen this many disks. */
const deviceIdLimit = 4096n;

/** The target of a running `btrfs replace` (BTRFS_DEV_REPLACE_DEVID); every other device has another id. */
export const replaceTargetId = 0n;

/** The devices that a mounted filesystem has, in the order of their ids. */
export function devicesOf(
  kernel: Kernel,
  mounted: number,
  { maxDeviceId, deviceCount }: FilesystemInfo,
): readonly DeviceInfo[] {
  const last = maxDeviceId < deviceIdLimit ? maxDeviceId : deviceIdLimit;
  const found: DeviceInfo[] = [];
  const first = deviceCount === 1n ? 1n : replaceTargetId;
  for (let id = first; id <= last && BigInt(found.length) < deviceCount; id++) {
    const device = deviceInfo(kernel, mounted, id);
    if (device !== null) found.push(device);
  }
  return found;
}

/** Inode flags (FS_*_FL), ioctl_iflags(2). */
export function getInodeFlags(kernel: Kernel, fd: number): number {
  // Asked so often on a boot that an encoder's loop would show.
  const argument = new Uint8Array(new ArrayBuffer(inodeFlags.sizeBytes));
  named("FS_IOC_GETFLAGS", undefined, () => kernel.ioctl(fd, FS_IOC_GETFLAGS, argument));
  return new DataView(argument.buffer).getUint32(inodeFlags.fields.flags.offset, true);
}

/** Writes a commit even when nothing differs: compare with `getInodeFlags` first. */
export function setInodeFlags(kernel: Kernel, fd: number, flags: number): void {
  const argument = inodeFlags.encode({ flags });
  named("FS_IOC_SETFLAGS", undefined, () => kernel.ioctl(fd, FS_IOC_SETFLAGS, argument));
}

/** struct btrfs_ioctl_get_subvol_info_args */
const subvolumeInfoArguments = struct(504, {
  id: u64(0),
  name: raw(8, 256),
  parentId: u64(264),
  generation: u64(280),
  flags: u64(288),
  uuid: raw(296, 16),
  parentUuid: raw(312, 16),
  receivedUuid: raw(328, 16),
});
export const GET_SUBVOL_INFO = ior(btrfs, 60, subvolumeInfoArguments.sizeBytes);

export interface SubvolumeInfo {
  readonly id: bigint;
  readonly name: string;
  readonly parentId: bigint;
  readonly generation: bigint;
  readonly readOnly: boolean;
  readonly uuid: string;
  /** The subvolume it is a snapshot of. */
  readonly parentUuid: string;
  /** `btrfs receive` made it from a stream of this subvolume, and can go on from it; else null. */
  readonly receivedUuid: string | null;
}

/** The subvolume that the descriptor is in. Needs no privilege. */
export function subvolumeInfo(kernel: Kernel, fd: number): SubvolumeInfo {
  const argument = subvolumeInfoArguments.encode({});
  named("BTRFS_IOC_GET_SUBVOL_INFO", undefined, () => kernel.ioctl(fd, GET_SUBVOL_INFO, argument));
  const fields = subvolumeInfoArguments.decode(argument);
  return {
    id: fields.id,
    name: textUntilNul(fields.name),
    parentId: fields.parentId,
    generation: fields.generation,
    // The flag of the root item, not that of SUBVOL_GETFLAGS: BTRFS_ROOT_SUBVOL_RDONLY is bit 0.
    readOnly: (fields.flags & 1n) !== 0n,
    uuid: uuidText(fields.uuid),
    parentUuid: uuidText(fields.parentUuid),
    receivedUuid: fields.receivedUuid.some((byte) => byte !== 0)
      ? uuidText(fields.receivedUuid)
      : null,
  };
}

/** The special number of every subvolume's root directory (BTRFS_FIRST_FREE_OBJECTID). */
export const subvolumeRootInode = 256n;
