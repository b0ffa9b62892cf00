import { Errno, SystemError } from "../linux/errno.ts";
import { namesIn, statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";

const sysfs = "/sys/fs/btrfs";

/**
 * The UUID under which the kernel has a block device ("vdb") in use, in whatever mount namespace;
 * null when it is not mounted. Documentation/ABI: /sys/fs/btrfs/UUID/devices/NAME
 */
export function mountedUuid(kernel: Kernel, deviceName: string): string | null {
  // Without sysfs nothing would seem to be mounted. "kernel" is there as soon as sysfs is.
  if (statOrNull(kernel, "/sys/kernel") === null) {
    throw new SystemError("open", Errno.ENOENT, "/sys (is sysfs mounted?)");
  }
  // The kernel writes "!" for a slash in a device name ("cciss!c0d0").
  for (const uuid of namesIn(kernel, sysfs)) {
    if (uuid !== "features" && statOrNull(kernel, `${sysfs}/${uuid}/devices/${deviceName}`)) {
      return uuid;
    }
  }
  return null;
}

/** The block devices that are mounted as a Btrfs, in whatever mount namespace. */
export const mountedDevices = (kernel: Kernel): readonly string[] =>
  namesIn(kernel, sysfs)
    .filter((uuid) => uuid !== "features")
    .flatMap((uuid) => namesIn(kernel, `${sysfs}/${uuid}/devices`));

/** False once the last mount of the filesystem is gone, in every namespace. */
export const isMounted = (kernel: Kernel, uuid: string): boolean =>
  statOrNull(kernel, `${sysfs}/${uuid}`) !== null;

/** The kernel has Btrfs, built in or loaded as a module. */
export const isBtrfsLoaded = (kernel: Kernel): boolean => statOrNull(kernel, sysfs) !== null;
