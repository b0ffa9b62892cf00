import { Errno, isErrno, SystemError } from "./errno.ts";
import { listDirectory, namesIn, procPath, readLineOrNull, statOrNull, withFd } from "./files.ts";
import { AT_FDCWD, type FileStatus, type Kernel, O_NONBLOCK, O_RDONLY, O_RDWR } from "./kernel.ts";
import { isOneFileByOverlay, isOnOverlay } from "./same-file.ts";
import { servedFiles } from "./served-files.ts";
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

/** Asks an open loop device; throws ENXIO for one that is not attached, ENOTTY for another device. */
function backingOf(kernel: Kernel, fd: number): Backing {
  const info = loopInfo.encode({});
  kernel.ioctl(fd, LOOP_GET_STATUS64, info);
  const { device, nodeDevice, ...rest } = loopInfo.decode(info);
  return { ...rest, device: deviceText(device), nodeDevice: deviceText(nodeDevice) };
}

/** The same of a loop device by its path. */
export const backingAt = (kernel: Kernel, path: string): Backing =>
  withFd(kernel, kernel.open(path, O_RDONLY | O_NONBLOCK), (fd) => backingOf(kernel, fd));

const isPartial = ({ offset, sizeLimit }: Backing): boolean => offset !== 0n || sizeLimit !== 0n;

const isBackedBy = ({ device, inode }: Backing, file: FileStatus): boolean =>
  inode === file.inode && device === file.device;

/** Whether an open loop device shows the whole of this file. */
export function showsWhole(kernel: Kernel, fd: number, file: FileStatus): boolean {
  try {
    const backing = backingOf(kernel, fd);
    return isBackedBy(backing, file) && !isPartial(backing);
  } catch (error) {
    if (isErrno(error, Errno.ENXIO)) return false;
    throw error;
  }
}

/** The loop devices whose backing file is the open file `image`. */
export function loopsOf(kernel: Kernel, image: FileStatus, imagePath: string): AttachedLoop[] {
  const imageName = imagePath.split("/").at(-1);
  const servedBy = servedFiles(kernel);
  const loops: AttachedLoop[] = [];
  // Without the list an attached image would be attached once more.
  for (const name of listDirectory(kernel, "/sys/block")) {
    // Only an attached loop device has this folder: no need to open the others.
    if (!name.startsWith("loop") || statOrNull(kernel, `/sys/block/${name}/loop`) === null)
      continue;
    const mount = servedBy(name);
    if (mount !== null && mount.device !== image.device) continue;
    const path = `/dev/${name}`;
    let backing: Backing;
    try {
      backing = backingAt(kernel, path);
    } catch (error) {
      const { ENOENT, ENXIO, EIO, ENOTCONN, ESTALE } = Errno;
      if (!isErrno(error, ENOENT, ENXIO, EIO, ENOTCONN, ESTALE)) throw error;
      // Detached since it was listed; or a container lacks the node, or has it for another device; or the
      // filesystem of its file is dead, which says nothing of ours.
      // What is attached and cannot be asked may be our file: its name decides.
      const file = readLineOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
      if (file?.split("/").at(-1) === imageName) loops.push({ path, partial: true });
      continue;
    }
    if (isBackedBy(backing, image)) loops.push({ path, partial: isPartial(backing) });
  }
  return loops;
}

/**
 * A loop device whose file is another name of the image, by way of an overlay, and that name; null when there is none.
 * `loopsOf` does not see that.
 */
export function loopByOverlay(
  kernel: Kernel,
  imagePath: string,
): { readonly path: string; readonly file: string } | null {
  const servedBy = servedFiles(kernel);
  for (const name of listDirectory(kernel, "/sys/block")) {
    if (!name.startsWith("loop")) continue;
    const file = readLineOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
    if (file === null || servedBy(name) !== null) continue;
    const path = `/dev/${name}`;
    if (isOneFileByOverlay(kernel, imagePath, file)) return { path, file };
    if (isLikeUnseen(kernel, path, file, imagePath)) return { path, file };
  }
  return null;
}

/**
 * The same of a file that no path leads to from here, as from a container to a layer of its own root: an overlay shows
 * the inode of the file in its layer, unless it was copied up.
 */
function isLikeUnseen(kernel: Kernel, loop: string, file: string, imagePath: string): boolean {
  try {
    if (statOrNull(kernel, file) !== null) return false;
    const image = kernel.statx(AT_FDCWD, imagePath, 0);
    const backing = backingAt(kernel, loop);
    if (backing.inode !== image.inode || backing.device === image.device) return false;
    const sectors = readLineOrNull(kernel, `/sys/block/${loop.slice("/dev/".length)}/size`);
    return sectors === String(Math.floor(image.sizeBytes / 512)) && isOnOverlay(kernel, imagePath);
  } catch (error) {
    // Detached meanwhile, or a container without the node.
    if (error instanceof SystemError) return false;
    throw error;
  }
}

/** A loop device that is open for reading. */
interface OpenLoop {
  readonly path: string;
  readonly fd: number;
}

/**
 * Attaches a file that is open for reading and writing to a free loop device, by one ioctl (Linux 5.8).
 * The device keeps this open file description, and every lock on it, until it is detached.
 */
export function attachLoop(kernel: Kernel, backing: number, imagePath: string): OpenLoop {
  const control = kernel.open("/dev/loop-control", O_RDWR);
  return withFd(kernel, control, () => {
    // The name is for losetup's listing only; the kernel keeps 63 bytes of it.
    const info = loopInfo.encode({ fileName: utf8(imagePath).subarray(0, 63) });
    const config = loopConfig.encode({ fd: backing, info });
    for (let attempt = 1; ; attempt++) {
      const path = `/dev/loop${kernel.ioctl(control, LOOP_CTL_GET_FREE, 0)}`;
      try {
        return withFd(kernel, kernel.open(path, O_RDWR), (fd) => {
          kernel.ioctl(fd, LOOP_CONFIGURE, config);
          return { path, fd: openedAgain(kernel, fd) };
        });
      } catch (error) {
        if (!isErrno(error, Errno.EBUSY) || attempt === attachAttempts) throw error;
      }
    }
  });
}

/** While it is open, nobody can detach it and attach another file to its number. */
function openedAgain(kernel: Kernel, fd: number): number {
  try {
    return kernel.open(procPath(fd), O_RDONLY | O_NONBLOCK);
  } catch (error) {
    detachLoop(kernel, fd);
    throw error;
  }
}

/** Makes an open device as large as its file has become. */
export function refreshLoopSize(kernel: Kernel, fd: number): void {
  kernel.ioctl(fd, LOOP_SET_CAPACITY, 0);
}

/**
 * Detaches an open device when it is closed, unless somebody else has it open too: then at the last
 * close. `isAttached` tells.
 */
export function detachLoop(kernel: Kernel, fd: number): void {
  try {
    kernel.ioctl(fd, LOOP_CLR_FD, 0);
  } catch (error) {
    if (!isErrno(error, Errno.ENXIO)) throw error;
  }
}

export function isAttached(kernel: Kernel, path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return statOrNull(kernel, `/sys/block/${name}/loop`) !== null;
}

/**
 * Opens the file behind an open loop device ("loop0") for reading and gives it to `use`; null where its path
 * leads to another file from here, or there is none.
 */
export function withBackingFile<T>(
  kernel: Kernel,
  device: { readonly fd: number; readonly name: string },
  use: (fd: number, path: string) => T,
): T | null {
  if (!device.name.startsWith("loop")) return null;
  const path = readLineOrNull(kernel, `/sys/block/${device.name}/loop/backing_file`);
  if (path === null) return null;
  try {
    const status = statOrNull(kernel, path);
    if (status === null || !isBackedBy(backingOf(kernel, device.fd), status)) return null;
    return withFd(kernel, kernel.open(path, O_RDONLY | O_NONBLOCK), (fd) => use(fd, path));
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.EACCES, Errno.ENXIO)) return null;
    throw error;
  }
}

/** What the kernel writes behind the path of a file that was deleted (fs/d_path.c). */
export const deletedMark = " (deleted)";

/**
 * The path that the backing file of a loop device ("loop0") had before it was deleted; null of one that is
 * still there, and of another device. The kernel tells it by a word behind the path, which may
 * also be a part of the name.
 */
export function deletedFileOf(kernel: Kernel, name: string): string | null {
  const shown = readLineOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
  if (shown?.endsWith(deletedMark) !== true) return null;
  const found = statOrNull(kernel, shown);
  if (found !== null && isBackedBy(backingAt(kernel, `/dev/${name}`), found)) return null;
  return shown.slice(0, -deletedMark.length);
}

/** The loop devices whose deleted file had this path. */
export const loopsOfDeleted = (kernel: Kernel, path: string): readonly string[] =>
  namesIn(kernel, "/sys/block")
    .filter((name) => name.startsWith("loop") && deletedFileOf(kernel, name) === path)
    .map((name) => `/dev/${name}`);
