import { iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u64 } from "../linux/struct.ts";
import { devicesOf, filesystemInfo, named } from "./ioctls.ts";

/** uapi/linux/btrfs.h: struct btrfs_ioctl_get_dev_stats (1032 bytes), enum btrfs_dev_stat_values */
const statsArguments = struct(1032, {
  deviceId: u64(0),
  itemCount: u64(8),
  flags: u64(16),
  write: u64(24),
  read: u64(32),
  flush: u64(40),
  corruption: u64(48),
  generation: u64(56),
});
const itemCount = 5n;
export const GET_DEV_STATS = iowr(0x94, 52, statsArguments.sizeBytes);

/** Errors of a device since they were last reset; the counters outlive a mount. */
export interface DeviceErrors {
  readonly write: bigint;
  readonly read: bigint;
  readonly flush: bigint;
  readonly corruption: bigint;
  readonly generation: bigint;
}

/** The error counters of one device of a mounted filesystem. Needs no privilege. */
export function deviceErrors(kernel: Kernel, mounted: number, deviceId: bigint): DeviceErrors {
  const argument = statsArguments.encode({ deviceId, itemCount });
  named("BTRFS_IOC_GET_DEV_STATS", `${deviceId}`, () =>
    kernel.ioctl(mounted, GET_DEV_STATS, argument),
  );
  const { write, read, flush, corruption, generation } = statsArguments.decode(argument);
  return { write, read, flush, corruption, generation };
}

/** The counters of every device of a mounted filesystem; it is nearly always one. */
export const errorsOfAll = (kernel: Kernel, mounted: number): readonly DeviceErrors[] =>
  devicesOf(kernel, mounted, filesystemInfo(kernel, mounted)).map(({ deviceId }) =>
    deviceErrors(kernel, mounted, deviceId),
  );
