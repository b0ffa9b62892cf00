import { getInodeFlags, noCopyOnWrite, setInodeFlags } from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { noAtime, procPath, statFd, withFd } from "../linux/files.ts";
import {
  isDirectory,
  isRegularFile,
  type Kernel,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
} from "../linux/kernel.ts";
import { insideVolume, openInVolume } from "./subvolumes.ts";

/** Most names that are looked at below one directory; it may have a million. */
const nameLimit = 4096;

/** containerd/daemon/io.containerd.content.v1.content/blobs/sha256 is four below the first. */
const depthLimit = 6;

/**
 * A layer or a blob: a name that a daemon counts up, or that it computes from the content. What is inside
 * is a container's, which may have set the flag by itself.
 */
const isLayerOrBlob = (path: string): boolean => /\/(?:\d+|[0-9a-f]{64}(?:-init)?)$/.test(path);

interface Found {
  /** Level by level, the directory itself first. */
  readonly directories: readonly string[];
  readonly others: readonly string[];
  /** False when there were more names than are looked at. */
  readonly isAll: boolean;
}

/** The directories below `path` that are `walked` by their flags, and all else that is in them. */
function lookBelow(
  kernel: Kernel,
  top: number,
  path: string,
  walked: (flags: number) => boolean,
  isLeftOut: (path: string) => boolean,
): Found {
  const directories = [path];
  const others: string[] = [];
  let left = nameLimit;
  for (const at of directories) {
    if (left <= 0) break;
    const names = namesOf(kernel, top, at, left);
    left -= names.length;
    for (const below of names.map((name) => `${at}/${name}`)) {
      if (isLeftOut(below)) continue;
      const isDeep = below.split("/").length > path.split("/").length + depthLimit;
      const flags = isDeep || isLayerOrBlob(below) ? null : directoryFlags(kernel, top, below);
      if (flags === null) others.push(below);
      else if (walked(flags)) directories.push(below);
    }
  }
  return { directories, others, isAll: left > 0 };
}

function namesOf(kernel: Kernel, top: number, path: string, atLeast: number): readonly string[] {
  const fd = openInVolume(kernel, top, path);
  return withFd(kernel, fd, () => kernel.readDirectory(fd, atLeast));
}

/** null of what is no directory, or another filesystem or subvolume, or has gone. */
function directoryFlags(kernel: Kernel, top: number, path: string): number | null {
  try {
    const fd = openInVolume(kernel, top, path);
    return withFd(kernel, fd, () => getInodeFlags(kernel, fd));
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) return null;
    throw error;
  }
}

const isFlagged = (flags: number): boolean => (flags & noCopyOnWrite) !== 0;

/**
 * Takes the flag off what inherited it from the directory `path`, so that what a daemon makes there from now
 * on is right; the deepest first, so that a run that is cut short is taken up again from the directory
 * itself, which the caller does last. `changed` after each.
 */
export function takeOffBelow(
  kernel: Kernel,
  top: number,
  path: string,
  isWanted: (path: string) => boolean,
  changed: () => void,
): void {
  const { directories } = lookBelow(kernel, top, path, isFlagged, isWanted);
  for (const directory of directories.slice(1).reverse()) {
    const fd = openInVolume(kernel, top, directory);
    withFd(kernel, fd, () => {
      setInodeFlags(kernel, fd, getInodeFlags(kernel, fd) & ~noCopyOnWrite);
    });
    changed();
  }
}

/** Layers and blobs, and other files beside them, that were made while their directory was NOCOW. */
export interface OldNocow {
  readonly count: number;
  /** False when only a part was looked at. */
  readonly isAll: boolean;
  /** The directories they are in. */
  readonly paths: readonly string[];
}

/** Counts them below directories that are not NOCOW, or not any more. Takes a limited time. */
export function countOld(
  kernel: Kernel,
  top: number,
  directories: readonly string[],
  isWanted: (path: string) => boolean,
): OldNocow {
  let count = 0;
  let isAll = true;
  const paths: string[] = [];
  // One that is inside another is counted with it.
  const outermost = directories.filter(
    (path) => !directories.some((other) => path.startsWith(`${other}/`)),
  );
  for (const path of outermost) {
    try {
      const found = lookBelow(kernel, top, path, () => true, isWanted);
      const old = found.others.filter((other) => isOld(kernel, top, other)).length;
      count += old;
      isAll &&= found.isAll;
      if (old > 0) paths.push(path);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (!isErrno(error, Errno.ENOENT)) isAll = false;
    }
  }
  return { count, isAll, paths };
}

/** Only a file or a directory is opened: to open a device may do something to it. */
function isOld(kernel: Kernel, top: number, path: string): boolean {
  try {
    const fd = kernel.openBeneath(top, path, O_PATH | O_NOFOLLOW, insideVolume);
    return withFd(kernel, fd, () => {
      const status = statFd(kernel, fd);
      if (!isRegularFile(status) && !isDirectory(status)) return false;
      const flags = O_RDONLY | O_NONBLOCK | noAtime(kernel);
      const readable = kernel.open(procPath(fd), flags);
      return withFd(kernel, readable, () => isFlagged(getInodeFlags(kernel, readable)));
    });
  } catch (error) {
    const { ENOENT, ELOOP, ENOTDIR, EXDEV } = Errno;
    if (isErrno(error, ENOENT, ELOOP, ENOTDIR, EXDEV)) return false;
    throw error;
  }
}

export const oldText = ({ count, isAll, paths }: OldNocow): string =>
  `${isAll ? "" : "at least "}${count} layers, blobs and files are from when their directory was NOCOW, without ` +
  `checksums and compression (below ${paths.join(", ")}): they have both once they are removed and pulled anew`;
