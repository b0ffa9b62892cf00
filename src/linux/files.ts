import { Errno, isErrno } from "./errno.ts";
import type { FileStatus, Kernel } from "./kernel.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  O_DIRECTORY,
  O_NOATIME,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_NO_SYMLINKS,
} from "./kernel.ts";
import { fromUtf8 } from "./text.ts";

/** Opens, gives the descriptor to `use`, closes it on every way out. */
export function withFd<T>(kernel: Kernel, fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    kernel.close(fd);
  }
}

/** The status of a path, links followed; null when there is nothing. */
export function statOrNull(kernel: Kernel, path: string, flags = 0): FileStatus | null {
  try {
    return kernel.statx(AT_FDCWD, path, flags);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR)) return null;
    throw error;
  }
}

/** The status of an open file. */
export const statFd = (kernel: Kernel, fd: number): FileStatus =>
  kernel.statx(fd, "", AT_EMPTY_PATH);

/** The mount that an open file was reached through. No server or daemon is asked for it. */
export const mountIdOf = (kernel: Kernel, fd: number): number =>
  kernel.statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC).mountId;

/** Largest file of /proc or /sys that is read whole; a mount table of 100,000 lines fits. */
const procFileLimitBytes = 32 * 1024 * 1024;

/** Where most files fit, made with the first that is read: new memory costs more than the reading. */
let shared: Uint8Array<ArrayBuffer> | undefined;

/**
 * A whole file of /proc or /sys, whose size is known only by reading. The bytes are good until the next file is read. An
 * attribute of sysfs comes whole with the first read (Documentation/filesystems/sysfs.rst); a file of /proc does not.
 */
function readBytes(kernel: Kernel, path: string): Uint8Array {
  const isAttribute = path.startsWith("/sys/");
  return withFd(kernel, kernel.open(path, O_RDONLY), (fd) => {
    shared ??= new Uint8Array(new ArrayBuffer(16 * 1024));
    let buffer = shared;
    let filled = 0;
    for (;;) {
      const count = kernel.read(fd, filled === 0 ? buffer : buffer.subarray(filled));
      filled += count;
      if (count === 0 || (isAttribute && filled < buffer.length)) return buffer.subarray(0, filled);
      if (filled < buffer.length) continue;
      if (filled >= procFileLimitBytes) throw new RangeError(`${path} is larger than expected`);
      const larger = new Uint8Array(new ArrayBuffer(buffer.length * 4));
      larger.set(buffer);
      buffer = larger;
    }
  });
}

export const readText = (kernel: Kernel, path: string): string => fromUtf8(readBytes(kernel, path));

/** The text of a file of /proc or /sys without white space around it; null when there is none. */
export function readTextOrNull(kernel: Kernel, path: string): string | null {
  try {
    return readText(kernel, path).trim();
  } catch (error) {
    const { ENOENT, ENODEV, ENXIO, EINVAL, EACCES, ESRCH } = Errno;
    if (isErrno(error, ENOENT, ENODEV, ENXIO, EINVAL, EACCES, ESRCH)) return null;
    throw error;
  }
}

/** What a file of /proc begins with, of which the rest may be as long as a user likes; null when there is none. */
export function headOrNull(kernel: Kernel, path: string): string | null {
  for (const piece of linesOrNone(kernel, path)) return piece;
  return null;
}

const pieceBytes = 16 * 1024;
const newline = 10;

/**
 * Some whole lines of a file of /proc after the other; none of a file that is not there or may not be read. A line
 * that is longer than a piece comes in two.
 */
export function* linesOrNone(kernel: Kernel, path: string): Generator<string, void, undefined> {
  try {
    const fd = kernel.open(path, O_RDONLY);
    try {
      const buffer = new Uint8Array(new ArrayBuffer(pieceBytes));
      for (let kept = 0; ; ) {
        const count = kernel.read(fd, buffer.subarray(kept));
        const filled = kept + count;
        if (filled === 0) return;
        const last = buffer.subarray(0, filled).lastIndexOf(newline) + 1;
        const end = last === 0 || count === 0 ? filled : last;
        yield fromUtf8(buffer.subarray(0, end));
        buffer.copyWithin(0, end, filled);
        kept = filled - end;
      }
    } finally {
      kernel.close(fd);
    }
  } catch (error) {
    if (!isErrno(error, Errno.ENOENT, Errno.EACCES, Errno.ESRCH)) throw error;
  }
}

/** The same of a file that is one line, which may hold a path: only the newline that ends it is left out. */
export function readLineOrNull(kernel: Kernel, path: string): string | null {
  try {
    return readText(kernel, path).replace(/\n$/, "");
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.ENODEV, Errno.ENXIO, Errno.EACCES)) return null;
    throw error;
  }
}

/** Reads until `buffer` is full; false at the end of the file. */
export function readExactly(
  kernel: Kernel,
  fd: number,
  buffer: Uint8Array,
  offsetBytes: number,
): boolean {
  for (let filled = 0; filled < buffer.length; ) {
    const rest = filled === 0 ? buffer : buffer.subarray(filled);
    const count = kernel.pread(fd, rest, offsetBytes + filled);
    if (count === 0) return false;
    filled += count;
  }
  return true;
}

/** Writes all of `bytes`. */
export function writeExactly(
  kernel: Kernel,
  fd: number,
  bytes: Uint8Array,
  offsetBytes: number,
): void {
  for (let written = 0; written < bytes.length; ) {
    written += kernel.pwrite(fd, bytes.subarray(written), offsetBytes + written);
  }
}

/** Without sysfs nothing would seem to be there. "kernel" is there as soon as sysfs is. */
export const isSysfsMounted = (kernel: Kernel): boolean =>
  statOrNull(kernel, "/sys/kernel") !== null;

/** O_NOATIME, so that looking writes nothing; only the owner of a file or root may ask for it. */
export const noAtime = (kernel: Kernel): number => (kernel.geteuid() === 0 ? O_NOATIME : 0);

/** The names in a directory, which must exist. Reading it leaves its access time alone. */
export const listDirectory = (kernel: Kernel, path: string): string[] =>
  withFd(kernel, kernel.open(path, O_RDONLY | O_DIRECTORY | noAtime(kernel)), (fd) =>
    kernel.readDirectory(fd),
  );

/** The same; [] when the directory does not exist. */
export function namesIn(kernel: Kernel, path: string): string[] {
  try {
    return listDirectory(kernel, path);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) return [];
    throw error;
  }
}

/**
 * Opens a directory below `root` without following a symbolic link on the way
 * (ELOOP) and without leaving it (EXDEV). `path` is relative; "" is `root` itself.
 * The descriptor only names the place (O_PATH).
 */
export function openDirectoryBeneath(kernel: Kernel, root: number, path: string): number {
  return kernel.openBeneath(
    root,
    path === "" ? "." : path,
    O_PATH | O_DIRECTORY | O_NOFOLLOW,
    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
  );
}

/** The same, and makes what is missing on the way, each with `mode`. */
export function makeDirectoryBeneath(
  kernel: Kernel,
  root: number,
  path: string,
  mode: number,
): number {
  try {
    return openDirectoryBeneath(kernel, root, path);
  } catch (error) {
    if (!isErrno(error, Errno.ENOENT) || path === "") throw error;
  }
  const slash = path.lastIndexOf("/");
  const parentPath = slash < 0 ? "" : path.slice(0, slash);
  const parent = makeDirectoryBeneath(kernel, root, parentPath, mode);
  return withFd(kernel, parent, (fd) => {
    const name = path.slice(slash + 1);
    try {
      kernel.mkdirat(fd, name, mode);
    } catch (error) {
      // Somebody else made it meanwhile; what it is shows when it is opened.
      if (!isErrno(error, Errno.EEXIST)) throw error;
    }
    return openDirectoryBeneath(kernel, fd, name);
  });
}

/** Makes the directory of an absolute path, and what is missing above it. No link on the way is followed (ELOOP). */
export function makeDirectories(kernel: Kernel, path: string, mode: number): void {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  withFd(kernel, kernel.open("/", O_PATH | O_DIRECTORY), (top) => {
    const made: string[] = [];
    for (const [i, name] of names.entries()) {
      if (name === "..") made.pop();
      else made.push(name);
      // What is left again has to be there too.
      const isTurn = i + 1 === names.length || names[i + 1] === "..";
      if (isTurn) kernel.close(makeDirectoryBeneath(kernel, top, made.join("/"), mode));
    }
  });
}

/** So often a lookup that must not wait is made again, because a rename anywhere makes it give up. */
const atOnceAttempts = 4;

/**
 * Opens what the kernel reaches without asking a disk, a server or a daemon: it never waits, and EAGAIN
 * says that it would have (openat2(2), RESOLVE_CACHED). The way to a mount is always known. Linux 5.12; an
 * older one waits.
 */
export function openAtOnce(kernel: Kernel, path: string, flags: number): number {
  for (let attempt = 1; ; attempt++) {
    try {
      return kernel.openBeneath(AT_FDCWD, path, flags, RESOLVE_CACHED);
    } catch (error) {
      if (isErrno(error, Errno.EINVAL)) return kernel.open(path, flags);
      if (!isErrno(error, Errno.EAGAIN) || attempt === atOnceAttempts) throw error;
    }
  }
}

/** Where a descriptor really is: the path with all links resolved. */
export const pathOf = (kernel: Kernel, fd: number): string =>
  kernel.readlink(`/proc/self/fd/${fd}`);

/** The path that reaches an open directory again, also for mount(2), whatever its name now is. */
export const procPath = (fd: number): string => `/proc/self/fd/${fd}`;
