import { readTextOrNull, withFd } from "./files.ts";
import { io, ior } from "./ioctl.ts";
import { type Kernel, O_NONBLOCK, O_RDONLY } from "./kernel.ts";
import { struct, u32, u64 } from "./struct.ts";

/** linux/fs.h; BLKGETSIZE64 is declared with a size_t. */
const BLKROGET = io(0x12, 94);
const BLKFLSBUF = io(0x12, 97);
const BLKSSZGET = io(0x12, 104);
const BLKGETSIZE64 = ior(0x12, 114, 8);

const answer32 = struct(4, { value: u32(0) });
const answer64 = struct(8, { value: u64(0) });

/** No disk has larger sectors (BLK_MAX_BLOCK_SIZE of linux/blkdev.h), so of most sizes no more is asked. */
const largestSectorBytes = 65_536n;
const smallestSectorBytes = 512;

export interface DeviceSize {
  /** Whole sectors only; 0 for a node without a medium. Above `Number.MAX_SAFE_INTEGER` it is not exact. */
  readonly sizeBytes: number;
  /** 512, the smallest there is, when the size is a multiple of the largest: then the kernel is not asked. */
  readonly sectorBytes: number;
  /**
   * The device goes on for less than a sector, which nobody can read or write: a loop device of 4,096-byte
   * sectors over a file of another size.
   */
  readonly isRagged: boolean;
}

export function deviceSize(kernel: Kernel, fd: number): DeviceSize {
  const buffer = answer64.encode({});
  kernel.ioctl(fd, BLKGETSIZE64, buffer);
  const { value } = answer64.decode(buffer);
  const isWhole = value % largestSectorBytes === 0n;
  const sectorBytes = isWhole ? smallestSectorBytes : sectorBytesOf(kernel, fd);
  const rest = value % BigInt(sectorBytes);
  return { sizeBytes: Number(value - rest), sectorBytes, isRagged: rest !== 0n };
}

function sectorBytesOf(kernel: Kernel, fd: number): number {
  const buffer = answer32.encode({});
  kernel.ioctl(fd, BLKSSZGET, buffer);
  return answer32.decode(buffer).value;
}

export const deviceSizeBytes = (kernel: Kernel, fd: number): number =>
  deviceSize(kernel, fd).sizeBytes;

export function isDeviceReadOnly(kernel: Kernel, fd: number): boolean {
  const buffer = answer32.encode({});
  kernel.ioctl(fd, BLKROGET, buffer);
  return answer32.decode(buffer).value !== 0;
}

/**
 * How much was written to a device since it is there, as text that changes with every write that is done
 * (Documentation/block/stat.rst of the kernel, "write I/Os" to "write ticks"); null where it is not told.
 */
export const writesOf = (kernel: Kernel, name: string): string | null =>
  readTextOrNull(kernel, `/sys/class/block/${name}/stat`)?.split(/\s+/).slice(4, 8).join(" ") ??
  null;

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
