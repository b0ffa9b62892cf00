import { Errno, isErrno } from "../linux/errno.ts";
import {
  mountIdOf,
  openDirectoryBeneath,
  pathOf,
  procPath,
  statOrNull,
  withFd,
} from "../linux/files.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  type Kernel,
  O_DIRECTORY,
  O_NOATIME,
  O_PATH,
  O_RDONLY,
} from "../linux/kernel.ts";
import { isReadOnly, type Mount, type MountTable, mountOver } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import type { Layout } from "./layout.ts";
import { holderMode, mountPointMode } from "./raw-place.ts";

/** A place where something of the volume belongs. */
export interface Target {
  /** "@docker"; "" for the whole filesystem. */
  readonly subvolume: string;
  /** As the mount table shows it: below the real path of the root. */
  readonly path: string;
  /** Below the root, without a slash in front. */
  readonly relativePath: string;
  /** The mode of the directory that it is in, when that is made. */
  readonly parentMode: number;
}

/** What is at a target now. */
export type TargetState =
  /** `above`: the mount in which the directory would be made. */
  | { readonly kind: "missing"; readonly above: Mount | undefined }
  | { readonly kind: "not-a-directory"; readonly what: string }
  /** Nobody has walked into it yet, and who does may wait for ever; `on`: where it is mounted. */
  | { readonly kind: "automount"; readonly on: string }
  | { readonly kind: "directory"; readonly empty: boolean }
  | { readonly kind: "mounted"; readonly mount: Mount };

/** Every target of a layout, the whole filesystem first. `rootPath` is the real path of the root. */
export function targetsOf(
  layout: Layout,
  rootPath: string,
): readonly [whole: Target, ...subvolumes: Target[]] {
  const target = (subvolume: string, path: string, parentMode = mountPointMode): Target => ({
    parentMode,
    subvolume,
    path: rootPath === "/" ? path : `${rootPath}${path}`,
    relativePath: path.slice(1),
  });
  return [
    target("", layout.rawPath, holderMode(layout)),
    ...layout.entries.map((entry) => target(entry.subvolume, entry.path)),
  ];
}

/** The root of the mount that belongs at a target, as mountinfo shows it. */
const mountRootOf = (target: Target): string => `/${target.subvolume}`;

/**
 * Looks at a target. `root` is a descriptor of the root directory. The mount is found by the
 * id that the kernel gives for the path itself, so a mount that another one hides does not count.
 */
export function lookAtTarget(
  kernel: Kernel,
  root: number,
  target: Target,
  mounts: Pick<MountTable, "byId" | "all">,
): TargetState {
  const on = automountOn(mounts, target.path);
  if (on !== null) return { kind: "automount", on };
  let fd: number;
  try {
    fd = openDirectoryBeneath(kernel, root, target.relativePath);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) {
      const open = (path: string): number => openDirectoryBeneath(kernel, root, path);
      return { kind: "missing", above: mountAbove(kernel, open, target.relativePath, mounts) };
    }
    if (isErrno(error, Errno.ELOOP)) return { kind: "not-a-directory", what: "a symbolic link" };
    if (isErrno(error, Errno.ENOTDIR)) return { kind: "not-a-directory", what: "a file" };
    throw error;
  }
  return withFd(kernel, fd, () => {
    const mountId = mountIdOf(kernel, fd);
    const mount = mounts.byId(mountId);
    if (mount?.path === target.path) return { kind: "mounted", mount };
    const listing = kernel.open(procPath(fd), O_RDONLY | O_DIRECTORY | O_NOATIME);
    const names = withFd(kernel, listing, () => kernel.readDirectory(listing, 1));
    return { kind: "directory", empty: names.length === 0 };
  });
}

/** The path of the automount that a walk to `path` would set off; null when there is none. */
export function automountOn(mounts: Pick<MountTable, "all">, path: string): string | null {
  const over = mountOver(mounts.all(), path);
  return over?.type === "autofs" ? over.path : null;
}

/** The mount of the nearest directory above `path` that is there. */
function mountAbove(
  kernel: Kernel,
  open: (path: string) => number,
  path: string,
  mounts: Pick<MountTable, "byId">,
): Mount | undefined {
  const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  try {
    const fd = open(parent);
    return mounts.byId(withFd(kernel, fd, () => mountIdOf(kernel, fd)));
  } catch (error) {
    if (!isErrno(error, Errno.ENOENT) || parent === "") throw error;
    return mountAbove(kernel, open, parent, mounts);
  }
}

/** What is at every target while the directory of the root itself, an absolute path, does not exist. */
export function missingRoot(
  kernel: Kernel,
  rootPath: string,
  mounts: Pick<MountTable, "byId">,
): TargetState {
  const open = (path: string): number =>
    kernel.open(path === "" ? "/" : path, O_PATH | O_DIRECTORY);
  return { kind: "missing", above: mountAbove(kernel, open, rootPath, mounts) };
}

/** The mount at a target, as far as it can be seen; null when there is none. */
export function mountAt(
  kernel: Kernel,
  root: number,
  target: Target,
  mounts: Pick<MountTable, "byId" | "all">,
): Mount | null {
  if (automountOn(mounts, target.path) !== null) return null;
  const isAtTarget = ({ path }: Mount): boolean => path === target.path;
  try {
    const fd = openDirectoryBeneath(kernel, root, target.relativePath);
    const mountId = withFd(kernel, fd, () => mountIdOf(kernel, fd));
    const mount = mounts.byId(mountId);
    return mount?.path === target.path ? mount : null;
  } catch (error) {
    // A plain user may not walk there, but may read the mount table.
    if (isErrno(error, Errno.EACCES)) return mounts.all().findLast(isAtTarget) ?? null;
    if (isErrno(error, Errno.ENOENT, Errno.ELOOP, Errno.ENOTDIR)) return null;
    throw error;
  }
}

/** True when this mount is what belongs at the target. */
export const isOwnMount = (
  target: Target,
  mount: Mount | null,
  filesystem: string | null,
): boolean => mount !== null && mount.device === filesystem && mount.root === mountRootOf(target);

/**
 * Whether a target must be mounted or is so already; throws `target-occupied` when something else
 * is there, and `read-only` when its daemon could write nothing. `filesystem` is the "major:minor" of
 * our filesystem, null while it is not mounted.
 */
export function decideTarget(
  target: Target,
  state: TargetState,
  filesystem: string | null,
  cover: boolean,
): "kept" | "mount" {
  const occupied = (what: string, hint: string): VolumeError =>
    new VolumeError("target-occupied", `${target.path} ${what}`, { hint });
  switch (state.kind) {
    case "missing":
      assertCanBeMade(target, state.above);
      return "mount";
    case "not-a-directory":
      throw occupied(
        `is not a directory: ${state.what} is there or on the way to it`,
        "move it away, or mount below another directory with --root",
      );
    case "automount":
      throw occupied(
        state.on === target.path ? "is an automount" : `is on an automount (${state.on})`,
        "stop the automount, or mount below another directory with --root",
      );
    case "directory":
      if (state.empty || cover) return "mount";
      throw occupied(
        "is not empty, and a mount would hide what is in it",
        "move its contents away, or hide them knowingly with --cover",
      );
    case "mounted": {
      const { mount } = state;
      if (isOwnMount(target, mount, filesystem)) {
        assertMountWritable(mount);
        return "kept";
      }
      const what = mount.device === filesystem ? `${mount.root} of this volume` : mount.type;
      throw occupied(
        `has ${what} (${mount.source}) mounted on it`,
        `see what uses it, then: umount ${target.path}`,
      );
    }
  }
}

/** Before anything is written: a disk is not formatted for mount points that cannot be made. */
function assertCanBeMade({ path }: Target, above: Mount | undefined): void {
  if (above === undefined || !isReadOnly(above)) return;
  throw new VolumeError("read-only", `${path} is missing, and ${above.path} is mounted read-only`, {
    hint: "make the directory where that filesystem is made, or mount below another one with --root",
  });
}

/** Refuses a mount that is read-only by itself. A filesystem that is read-only is told elsewhere, with its reason. */
function assertMountWritable({ path, options, superOptions }: Mount): void {
  if (!options.includes("ro") || superOptions.includes("ro")) return;
  throw new VolumeError("read-only", `${path} is mounted read-only, unlike its filesystem`, {
    hint: `see who did that; to undo it: mount -o remount,bind,rw ${path}`,
  });
}

/** The root directory below which everything is mounted, open, with its real path. */
export interface Root {
  readonly fd: number;
  readonly path: string;
}

export function openRoot(kernel: Kernel, path: string): Root | null {
  const fd = openRootDirectory(kernel, path);
  if (fd === null) return null;
  try {
    return { fd, path: pathOf(kernel, fd) };
  } catch (error) {
    kernel.close(fd);
    throw error;
  }
}

function openRootDirectory(kernel: Kernel, path: string): number | null {
  try {
    return kernel.open(path, O_PATH | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) {
      if (statOrNull(kernel, path, AT_SYMLINK_NOFOLLOW) === null) return null;
      throw new VolumeError("usage", `--root ${path} is a link that leads nowhere`, {
        cause: error,
      });
    }
    if (isErrno(error, Errno.ENOTDIR, Errno.ELOOP, Errno.ENAMETOOLONG)) {
      throw new VolumeError("usage", `--root ${path} is not a directory`, { cause: error });
    }
    throw error;
  }
}
