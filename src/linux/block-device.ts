import { withFd } from "./files.ts";
import { io, ior } from "./ioctl.ts";
import { type Kernel, O_NONBLOCK, O_RDONLY } from "./kernel.ts";
import { struct, u32, u64 } from "./struct.ts";

/** linux/fs.h; BLKGETSIZE64 is declared with a size_t. */
const BLKROGET = io(0x12, 94);
const BLKFLSBUF = io(0x12, 97);
const BLKGETSIZE64 = ior(0x12, 114, 8);

const answer32 = struct(4, { value: u32(0) });
const answer64 = struct(8, { value: u64(0) });

/** Size in bytes; 0 for a node without a medium. */
export function deviceSizeBytes(kernel: Kernel, fd: number): number {
  const buffer = answer64.encode({});
  kernel.ioctl(fd, BLKGETSIZE64, buffer);
  return Number(answer64.decode(buffer).value);
}

export function isDeviceReadOnly(kernel: Kernel, fd: number): boolean {
  const buffer = answer32.encode({});
  kernel.ioctl(fd, BLKROGET, buffer);
  return answer32.decode(buffer).value !== 0;
}

/** Writes out and forgets what the page cache has of a device: the next read asks the disk. Needs root. */
export function dropCache(kernel: Kernel, fd: number): void {
  kernel.ioctl(fd, BLKFLSBUF, 0);
}

/** The kernel's own name of a device, such as "vdb", from its "major:minor". */
export function kernelName(kernel: Kernel, nodeDevice: string): string {
  const link = kernel.readlink(`/sys/dev/block/${nodeDevice}`);
  return link.slice(link.lastIndexOf("/") + 1);
}

/** The node of a device in /dev; the kernel writes "!" in sysfs for the "/" of its name. */
export const devicePath = (name: string): string => `/dev/${name.replaceAll("!", "/")}`;

/**
 * Asks the kernel whether anybody has claimed the device (a mount, swap, md, device-mapper, an
 * O_EXCL opener): throws a SystemError with EBUSY then.
 */
export function assertUnclaimed(kernel: Kernel, path: string): void {
  // O_EXCL without O_CREAT on a block device: open(2).
  const O_EXCL = 0o200;
  withFd(kernel, kernel.open(path, O_RDONLY | O_EXCL | O_NONBLOCK), () => undefined);
}
