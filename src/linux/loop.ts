import { Errno, isErrno } from "./errno.ts";
import { listDirectory, procPath, readTextOrNull, statOrNull, withFd } from "./files.ts";
import { type FileStatus, type Kernel, O_NONBLOCK, O_RDONLY, O_RDWR } from "./kernel.ts";
import { raw, struct, u32, u64 } from "./struct.ts";
import { utf8 } from "./text.ts";

/** linux/loop.h: these are plain numbers, older than the _IO macros. */
const LOOP_CLR_FD = 0x4c01;
const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;

/** linux/loop.h, struct loop_info64 */
const loopInfo = struct(232, {
  device: u64(0),
  inode: u64(8),
  nodeDevice: u64(16),
  offset: u64(24),
  sizeLimit: u64(32),
  flags: u32(52),
  fileName: raw(56, 64),
});

/** linux/loop.h, struct loop_config: the info stands at byte 8. */
const loopConfig = struct(304, { fd: u32(0), info: raw(8, loopInfo.sizeBytes) });

/** Somebody else may take the free device first; this many times in a row is no accident. */
const attachAttempts = 64;

/** "major:minor" of the number in loop_info64 (linux/kdev_t.h, new_encode_dev). */
function deviceText(encoded: bigint): string {
  const number = Number(encoded);
  const major = (number >>> 8) & 0xfff;
  const minor = (number & 0xff) | ((number >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

export interface AttachedLoop {
  /** "/dev/loop0" */
  readonly path: string;
  /** Attached with an offset or a size limit, or not to be used from here: not for us. */
  readonly partial: boolean;
}

/** The backing file of a loop device, as the kernel knows it. */
interface Backing {
  /** "major:minor" of the filesystem that the file lies on. */
  readonly device: string;
  readonly inode: bigint;
  /** "major:minor" of what the file is a node of; "0:0" for a regular file. */
  readonly nodeDevice: string;
  readonly offset: bigint;
  readonly sizeLimit: bigint;
}

/** Asks an attached loop device; throws ENXIO for one that is not. */
export function backingOf(kernel: Kernel, path: string): Backing {
  const info = loopInfo.encode({});
  const fd = kernel.open(path, O_RDONLY | O_NONBLOCK);
  withFd(kernel, fd, () => kernel.ioctl(fd, LOOP_GET_STATUS64, info));
  const { device, nodeDevice, ...rest } = loopInfo.decode(info);
  return { ...rest, device: deviceText(device), nodeDevice: deviceText(nodeDevice) };
}

/** The loop devices whose backing file is the open file `image`. */
export function loopsOf(kernel: Kernel, image: FileStatus, imagePath: string): AttachedLoop[] {
  const imageName = imagePath.split("/").at(-1);
  const loops: AttachedLoop[] = [];
  // Without the list an attached image would be attached once more.
  for (const name of listDirectory(kernel, "/sys/block")) {
    // Only an attached loop device has this folder: no need to open the others.
    if (!name.startsWith("loop") || statOrNull(kernel, `/sys/block/${name}/loop`) === null)
      continue;
    const path = `/dev/${name}`;
    let backing: Backing;
    try {
      backing = backingOf(kernel, path);
    } catch (error) {
      if (!isErrno(error, Errno.ENOENT, Errno.ENXIO)) throw error;
      // Detached since it was listed; or a container lacks the node, or has it for another device.
      // What is attached and cannot be asked may be our file: its name decides.
      const file = readTextOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
      if (file?.split("/").at(-1) === imageName) loops.push({ path, partial: true });
      continue;
    }
    const { device, inode, offset, sizeLimit } = backing;
    if (inode === image.inode && device === image.device) {
      loops.push({ path, partial: offset !== 0n || sizeLimit !== 0n });
    }
  }
  return loops;
}

/** Attaches an open file to a free loop device, by one ioctl (Linux 5.8). Gives its path. */
export function attachLoop(kernel: Kernel, imageFd: number, imagePath: string): string {
  // Opened anew: the device keeps what it is given, and with it a flock that was taken on it.
  return withFd(kernel, kernel.open(procPath(imageFd), O_RDWR), (backing) =>
    configureFreeLoop(kernel, backing, imagePath),
  );
}

function configureFreeLoop(kernel: Kernel, backing: number, imagePath: string): string {
  const control = kernel.open("/dev/loop-control", O_RDWR);
  return withFd(kernel, control, () => {
    // The name is for losetup's listing only; the kernel keeps 63 bytes of it.
    const info = loopInfo.encode({ fileName: utf8(imagePath).subarray(0, 63) });
    for (let attempt = 1; ; attempt++) {
      const path = `/dev/loop${kernel.ioctl(control, LOOP_CTL_GET_FREE, 0)}`;
      const config = loopConfig.encode({ fd: backing, info });
      try {
        withFd(kernel, kernel.open(path, O_RDWR), (fd) => kernel.ioctl(fd, LOOP_CONFIGURE, config));
        return path;
      } catch (error) {
        if (!isErrno(error, Errno.EBUSY) || attempt === attachAttempts) throw error;
      }
    }
  });
}

/** Makes the device as large as its file has become. */
export function refreshLoopSize(kernel: Kernel, path: string): void {
  withFd(kernel, kernel.open(path, O_RDONLY), (fd) => kernel.ioctl(fd, LOOP_SET_CAPACITY, 0));
}

/**
 * Detaches. The kernel answers 0 also when somebody still has the device open and
 * then does it at the last close: `isAttached` tells.
 */
export function detachLoop(kernel: Kernel, path: string): void {
  try {
    withFd(kernel, kernel.open(path, O_RDONLY | O_NONBLOCK), (fd) =>
      kernel.ioctl(fd, LOOP_CLR_FD, 0),
    );
  } catch (error) {
    if (!isErrno(error, Errno.ENXIO)) throw error;
  }
}

export function isAttached(kernel: Kernel, path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return statOrNull(kernel, `/sys/block/${name}/loop`) !== null;
}
