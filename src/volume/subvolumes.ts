import {
  createSubvolume,
  isSubvolumeReadOnly,
  makeSubvolumeWritable,
  subvolumeInfo,
  subvolumeRootInode,
} from "../btrfs/ioctls.ts";
import { Errno, isErrno, reasonOf, SystemError } from "../linux/errno.ts";
import { statFd, withFd } from "../linux/files.ts";
import {
  type Kernel,
  O_DIRECTORY,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import type { Layout } from "./layout.ts";
import { shellWord } from "./shell-word.ts";
import type { StepResult } from "./report.ts";

/** What has the name of a subvolume at the top of the filesystem. */
export type SubvolumeState =
  | "missing"
  | "subvolume"
  | "read-only"
  /** Read-only, and made by `btrfs receive`. */
  | "received"
  | "directory"
  | "file"
  | "symlink"
  | "mount";

/** For openat2(2): the volume itself, by no link, and no other filesystem that is mounted inside. */
export const insideVolume = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

/** Looking leaves access times alone, which only the owner of a file or root may ask for. */
function openQuietly(kernel: Kernel, directory: number, path: string, flags: number): number {
  try {
    return kernel.openBeneath(directory, path, flags | O_NOATIME, insideVolume);
  } catch (error) {
    if (!isErrno(error, Errno.EPERM)) throw error;
    return kernel.openBeneath(directory, path, flags, insideVolume);
  }
}

/** Opens a directory of the volume. */
export const openInVolume = (kernel: Kernel, directory: number, path: string): number =>
  openQuietly(kernel, directory, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

/** Opens what should be a file of the volume, without waiting for the other end where it is a pipe. */
export const openFileInVolume = (kernel: Kernel, directory: number, path: string): number =>
  openQuietly(kernel, directory, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);

export function lookAtSubvolume(kernel: Kernel, top: number, name: string): SubvolumeState {
  let fd: number;
  try {
    fd = openInVolume(kernel, top, name);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) return "missing";
    if (isErrno(error, Errno.ELOOP)) return "symlink";
    if (isErrno(error, Errno.ENOTDIR)) return "file";
    if (isErrno(error, Errno.EXDEV)) return "mount";
    throw error;
  }
  return withFd(kernel, fd, () => {
    if (statFd(kernel, fd).inode !== subvolumeRootInode) return "directory";
    if (!isSubvolumeReadOnly(kernel, fd)) return "subvolume";
    return subvolumeInfo(kernel, fd).receivedUuid === null ? "read-only" : "received";
  });
}

const words: Partial<Record<SubvolumeState, string>> = {
  directory: "a plain directory",
  file: "a file",
  symlink: "a symbolic link",
  mount: "a mount point",
};

/** `unlock`: to be made writable. `locked`: it is read-only and has to stay so. */
export type SubvolumeAction = "kept" | "create" | "unlock" | "locked";

/**
 * What must be done about a name. Throws when it is taken by something that is no subvolume; nothing is
 * removed. Anybody who is root in a container with the directory can make a subvolume read-only, so that
 * is undone; of one that was received the next incremental stream could then not be received.
 */
export function decideSubvolume(name: string, state: SubvolumeState): SubvolumeAction {
  const action = actions[state];
  if (action !== undefined) return action;
  throw new VolumeError(
    "not-a-subvolume",
    `${name} on the volume is ${words[state]}, not a subvolume`,
    { hint: "mount the disk by hand and move it out of the way; nothing was removed" },
  );
}

const actions: Partial<Record<SubvolumeState, SubvolumeAction>> = {
  missing: "create",
  subvolume: "kept",
  "read-only": "unlock",
  received: "locked",
};

/** The subvolumes of the layout by what must be done about them; those that are as they should be are left out. */
export interface SubvolumePlan {
  readonly create: readonly string[];
  readonly unlock: readonly string[];
  readonly locked: readonly string[];
}

/** Looks at every subvolume of the layout. Throws as `decideSubvolume` does. */
export function planSubvolumes(kernel: Kernel, top: number, { entries }: Layout): SubvolumePlan {
  const actions = entries.map(({ subvolume: name }) => ({
    name,
    action: decideSubvolume(name, lookAtSubvolume(kernel, top, name)),
  }));
  const due = (wanted: SubvolumeAction): string[] =>
    actions.filter(({ action }) => action === wanted).map(({ name }) => name);
  return { create: due("create"), unlock: due("unlock"), locked: due("locked") };
}

/** In a subvolume that is read-only nothing can be made. */
export const withoutSubvolumes = (layout: Layout, names: readonly string[]): Layout => ({
  ...layout,
  entries: layout.entries.filter(({ subvolume }) => !names.includes(subvolume)),
});

export function subvolumesResult(
  { create, unlock }: Pick<SubvolumePlan, "create" | "unlock">,
  { entries }: Layout,
): StepResult {
  const done = [
    ...(create.length === 0 ? [] : [`${create.length} of ${entries.length} created`]),
    ...(unlock.length === 0 ? [] : [`${unlock.length} of ${entries.length} made writable`]),
  ];
  return done.length === 0
    ? { outcome: "kept", detail: `${entries.length} there` }
    : { outcome: "changed", detail: done.join(", ") };
}

/** Where a subvolume that `btrfs receive` made can be reached. */
interface ReceivedPlaces {
  /** Where the whole filesystem is mounted. */
  readonly rawPath: string;
  readonly mountPath: string;
}

/** What helps it: a snapshot of it is writable, and it stays for the next incremental stream. */
export function receivedHint(name: string, { rawPath, mountPath }: ReceivedPlaces): string {
  const own = shellWord(`${rawPath}/${name}`);
  const aside = shellWord(`${rawPath}/${name}.received`);
  return (
    "it came with btrfs receive, so put a snapshot in its place: " +
    `umount ${shellWord(mountPath)} && mv ${own} ${aside} && btrfs subvolume snapshot ${aside} ${own}, then volume up`
  );
}

export const receivedNote = (name: string, places: ReceivedPlaces): string =>
  `the subvolume ${name} is read-only and stays so: ${receivedHint(name, places)}`;

/** Makes subvolumes writable; gives those that are so now. A failure is a note: the others shall come up. */
export function unlockSubvolumes(
  kernel: Kernel,
  top: number,
  names: readonly string[],
  note: (text: string) => void,
): readonly string[] {
  return names.filter((name) => {
    try {
      const fd = openInVolume(kernel, top, name);
      withFd(kernel, fd, () => {
        makeSubvolumeWritable(kernel, fd, name);
      });
      note(`the subvolume ${name} was read-only, and is writable again`);
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      const why = isErrno(error, Errno.EPERM)
        ? "while btrfs send reads it, it must be"
        : reasonOf(error);
      note(`the subvolume ${name} is read-only and could not be made writable: ${why}`);
      return false;
    }
  });
}

export function makeSubvolume(kernel: Kernel, top: number, name: string): void {
  try {
    createSubvolume(kernel, top, name);
  } catch (error) {
    if (isErrno(error, Errno.ENOSPC, Errno.EDQUOT)) {
      throw new VolumeError("no-space", `there is no space to create the subvolume ${name}`, {
        cause: error,
        hint: "grow the disk, or mount it by hand and free some space",
      });
    }
    throw error;
  }
}
