import { Errno, isErrno, reasonOf } from "../linux/errno.ts";
import {
  makeDirectoryBeneath,
  mountIdOf,
  openDirectoryBeneath,
  pathOf,
  procPath,
  statOrNull,
  withFd,
} from "../linux/files.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  type Kernel,
  MNT_DETACH,
  MS_NOATIME,
  MS_NODEV,
  MS_NOSUID,
  UMOUNT_NOFOLLOW,
} from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { mountPointMode } from "./raw-place.ts";
import type { Root, Target } from "./targets.ts";

/** linux/mount.h: the flag of each option that a mount has for itself, as the mount table shows it. */
const flagsOfOptions: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: 8,
  nosymfollow: 256,
  noatime: MS_NOATIME,
  nodiratime: 2048,
  relatime: 1 << 21,
};
/** The table shows nothing of a mount that writes down every access. */
const MS_STRICTATIME = 1 << 24;

/** The flags with which mount(2) makes a mount of these options again. */
export function mountFlags(options: readonly string[]): number {
  const hasRule = options.includes("noatime") || options.includes("relatime");
  const flags = options.map((option) => flagsOfOptions[option] ?? 0);
  return flags.reduce((all, flag) => all | flag, hasRule ? 0 : MS_STRICTATIME);
}

/** The whole filesystem is mounted for the agent, which starts no program there and opens no device. */
const flagsOf = ({ subvolume }: Target): number =>
  subvolume === "" ? MS_NOATIME | MS_NOSUID | MS_NODEV : MS_NOATIME;

/** A directory that is open, and a name in it: a place that stays the same while paths to it change. */
export interface Spot {
  readonly parent: number;
  readonly name: string;
}

const spotPath = ({ parent, name }: Spot): string => `${procPath(parent)}/${name}`;

/** The mount that is reached at a spot; where nothing is mounted on it, its parent's. */
export const mountIdAt = (kernel: Kernel, spot: Spot): number =>
  kernel.statx(AT_FDCWD, spotPath(spot), AT_SYMLINK_NOFOLLOW).mountId;

/** Unmounts what is at a spot, and nothing else, even when a directory above it is swapped for a link. */
export const unmountAt = (kernel: Kernel, spot: Spot, flags = 0): void =>
  kernel.unmount(spotPath(spot), UMOUNT_NOFOLLOW | flags);

/** "var/lib" and "docker" of "var/lib/docker". */
export function splitPath(relativePath: string): readonly [parentPath: string, name: string] {
  const slash = relativePath.lastIndexOf("/");
  return [relativePath.slice(0, Math.max(0, slash)), relativePath.slice(slash + 1)];
}

/** A mount of this run that a failure could not take back, and why. */
export interface StillMounted {
  readonly target: Target;
  readonly reason: string;
}

/**
 * Mounts of this run, so that a failure takes them back in reverse order: no daemon
 * may find half a volume.
 */
export class MountJournal {
  readonly #made: (Spot & { readonly target: Target })[] = [];
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Makes the target's directory where it is missing, mounts on it, and remembers. */
  mount(root: Root, target: Target, device: string, data: string, flags = flagsOf(target)): void {
    const kernel = this.#kernel;
    const [parentPath, name] = splitPath(target.relativePath);
    const parent = makeParent(kernel, root.fd, parentPath, target);
    let isMade = false;
    try {
      withFd(kernel, makeTargetDirectory(kernel, parent, name, target), (fd) => {
        // Through the descriptor, so that a directory that is swapped for a link now changes nothing.
        kernel.mount(device, procPath(fd), "btrfs", flags, data);
        isMade = true;
        this.#made.push({ parent, name, target });
        if (isInPlace(kernel, root, target, { parent, name })) return;
        if (!isMountedAt(kernel, { parent, name })) {
          // The directory was given another name before it was mounted on, and the mount is there.
          kernel.unmount(pathOf(kernel, fd), UMOUNT_NOFOLLOW);
          this.#made.pop();
          isMade = false;
        }
        throw new VolumeError(
          "target-occupied",
          `${target.path} was moved or replaced while it was mounted`,
          { hint: "see who may write to the directories above it" },
        );
      });
    } finally {
      if (!isMade) kernel.close(parent);
    }
  }

  get isEmpty(): boolean {
    return this.#made.length === 0;
  }

  /** The mounts stay: nothing is to be taken back any more. */
  close(): void {
    for (const { parent } of this.#made.splice(0)) this.#kernel.close(parent);
  }

  /**
   * Unmounts what was mounted, and gives what would not go. What is in use already is hidden from all
   * other processes (MNT_DETACH), and `inUse` is told before, because afterwards the users cannot be found.
   */
  undo(
    inUse: (target: Target, mountId: number) => void = () => undefined,
  ): readonly StillMounted[] {
    const left: StillMounted[] = [];
    for (const spot of this.#made.splice(0).reverse()) {
      try {
        withFd(this.#kernel, spot.parent, () => this.#unmount(spot, inUse));
      } catch (error) {
        left.push({ target: spot.target, reason: reasonOf(error) });
      }
    }
    return left;
  }

  #unmount(
    spot: Spot & { readonly target: Target },
    inUse: (target: Target, mountId: number) => void,
  ): void {
    try {
      unmountAt(this.#kernel, spot);
    } catch (error) {
      if (!isErrno(error, Errno.EBUSY)) throw error;
      inUse(spot.target, mountIdAt(this.#kernel, spot));
      unmountAt(this.#kernel, spot, MNT_DETACH);
    }
  }
}

function isMountedAt(kernel: Kernel, spot: Spot): boolean {
  const found = statOrNull(kernel, spotPath(spot), AT_SYMLINK_NOFOLLOW);
  return found !== null && found.mountId !== mountIdOf(kernel, spot.parent);
}

/** True when the path of the target leads to what was just mounted at the spot. */
function isInPlace(kernel: Kernel, root: Root, target: Target, spot: Spot): boolean {
  try {
    const fd = openDirectoryBeneath(kernel, root.fd, target.relativePath);
    const found = withFd(kernel, fd, () => mountIdOf(kernel, fd));
    return found === mountIdAt(kernel, spot) && found !== mountIdOf(kernel, spot.parent);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) return false;
    throw error;
  }
}

/** The directory that a target is in; the last one of the way to it may have a mode of its own. */
function makeParent(kernel: Kernel, root: number, path: string, target: Target): number {
  const { parentMode } = target;
  if (parentMode === mountPointMode) return makeTargetDirectory(kernel, root, path, target);
  const [above, name] = splitPath(path);
  return withFd(kernel, makeTargetDirectory(kernel, root, above, target), (fd) =>
    makeTargetDirectory(kernel, fd, name, target, parentMode),
  );
}

/** Opens a directory of the way to a target, or the target itself, and makes it where it is missing. */
function makeTargetDirectory(
  kernel: Kernel,
  from: number,
  path: string,
  target: Target,
  mode = mountPointMode,
): number {
  try {
    return makeDirectoryBeneath(kernel, from, path, mode);
  } catch (error) {
    if (isErrno(error, Errno.ELOOP, Errno.ENOTDIR)) {
      throw new VolumeError(
        "target-occupied",
        `${target.path} is not a directory: a link or a file has come on the way to it`,
        { cause: error, hint: "see who may write to the directories above it" },
      );
    }
    if (isErrno(error, Errno.EROFS)) {
      throw new VolumeError("mount-failed", `the mount point ${target.path} cannot be made`, {
        cause: error,
        hint: "the filesystem it belongs on is read-only: make the directory beforehand",
      });
    }
    if (isErrno(error, Errno.ENOSPC, Errno.EDQUOT)) {
      throw new VolumeError("no-space", `there is no space to make ${target.path}`, {
        cause: error,
      });
    }
    throw error;
  }
}
