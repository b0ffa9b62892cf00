import { Errno, SystemError } from "../linux/errno.ts";
import { isSysfsMounted, namesIn, readLineOrNull, statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";

const sysfs = "/sys/fs/btrfs";

/** The UUIDs of all that is mounted, in whatever mount namespace. */
const mountedUuids = (kernel: Kernel): readonly string[] =>
  namesIn(kernel, sysfs).filter((name) => name !== "features");

/**
 * The UUID under which the kernel has a block device ("vdb"; "cciss!c0d0" for one with a slash) in use;
 * null when it is not mounted. Documentation/ABI: /sys/fs/btrfs/UUID/devices/NAME
 */
export function mountedUuid(kernel: Kernel, deviceName: string): string | null {
  if (!isSysfsMounted(kernel)) {
    throw new SystemError("open", Errno.ENOENT, "/sys (is sysfs mounted?)");
  }
  const isOn = (uuid: string): boolean =>
    statOrNull(kernel, `${sysfs}/${uuid}/devices/${deviceName}`) !== null;
  return mountedUuids(kernel).find(isOn) ?? null;
}

/** The block devices that are mounted as a Btrfs. */
export function mountedDevices(kernel: Kernel): readonly string[] {
  const names: string[] = [];
  for (const uuid of mountedUuids(kernel)) {
    names.push(...namesIn(kernel, `${sysfs}/${uuid}/devices`));
  }
  return names;
}

/**
 * How many devices a mounted filesystem has, those that are missing with them; the target of a running
 * `btrfs replace`, which has the id 0, is none yet. Linux 5.6, /sys/fs/btrfs/UUID/devinfo
 */
export const deviceCount = (kernel: Kernel, uuid: string): number =>
  namesIn(kernel, `${sysfs}/${uuid}/devinfo`).filter((id) => id !== "0").length;

/** False once the last mount of the filesystem is gone, in every namespace. */
export const isMounted = (kernel: Kernel, uuid: string): boolean =>
  statOrNull(kernel, `${sysfs}/${uuid}`) !== null;

/** The kernel has Btrfs, built in or loaded as a module. */
export const isBtrfsLoaded = (kernel: Kernel): boolean => statOrNull(kernel, sysfs) !== null;

/**
 * The kernel mounted a copy of a filesystem that is mounted already, and gave it a UUID for that time: this one
 * stands on no disk. Linux 6.7, /sys/fs/btrfs/UUID/temp_fsid
 */
export const isTemporary = (kernel: Kernel, uuid: string): boolean =>
  readLineOrNull(kernel, `${sysfs}/${uuid}/temp_fsid`) === "1";
