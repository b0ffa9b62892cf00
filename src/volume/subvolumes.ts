import { createSubvolume, isSubvolumeReadOnly, subvolumeRootInode } from "../btrfs/ioctls.ts";
import { Errno, isErrno } from "../linux/errno.ts";
import { noAtime, statFd, withFd } from "../linux/files.ts";
import {
  type Kernel,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import type { Layout } from "./layout.ts";
import type { StepResult } from "./report.ts";

/** What has the name of a subvolume at the top of the filesystem. */
export type SubvolumeState =
  | "missing"
  | "subvolume"
  | "read-only"
  | "directory"
  | "file"
  | "symlink"
  | "mount";

/** Opens a directory of the volume itself: no link, no other filesystem mounted inside. */
export const openInVolume = (kernel: Kernel, directory: number, path: string): number =>
  kernel.openBeneath(
    directory,
    path,
    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | noAtime(kernel),
    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
  );

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
    return isSubvolumeReadOnly(kernel, fd) ? "read-only" : "subvolume";
  });
}

const words: Partial<Record<SubvolumeState, string>> = {
  directory: "a plain directory",
  file: "a file",
  symlink: "a symbolic link",
  mount: "a mount point",
};

/** Throws when the name is taken by something that is no usable subvolume; nothing is removed. */
export function decideSubvolume(name: string, state: SubvolumeState): "kept" | "create" {
  if (state === "missing") return "create";
  if (state === "subvolume") return "kept";
  if (state === "read-only") {
    throw new VolumeError("read-only", `the subvolume ${name} is read-only`, {
      hint: `make it writable: btrfs property set /path/to/${name} ro false`,
    });
  }
  throw new VolumeError(
    "not-a-subvolume",
    `${name} on the volume is ${words[state]}, not a subvolume`,
    { hint: "mount the disk by hand and move it out of the way; nothing was removed" },
  );
}

/** The subvolumes of the layout that must be created. Throws as `decideSubvolume` does. */
export const missingSubvolumes = (kernel: Kernel, top: number, layout: Layout): readonly string[] =>
  layout.entries
    .map(({ subvolume }) => subvolume)
    .filter((name) => decideSubvolume(name, lookAtSubvolume(kernel, top, name)) === "create");

export const subvolumesResult = (createdCount: number, { entries }: Layout): StepResult =>
  createdCount === 0
    ? { outcome: "kept", detail: `${entries.length} there` }
    : { outcome: "changed", detail: `${createdCount} of ${entries.length} created` };

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
