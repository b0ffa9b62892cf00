import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { makeDirectories } from "../linux/files.ts";
import { AT_FDCWD, type Kernel, O_NOFOLLOW, RESOLVE_NO_SYMLINKS } from "../linux/kernel.ts";
import { wayOf } from "../linux/links.ts";
import { VolumeError } from "./error.ts";
import { shellWord } from "./shell-word.ts";

/** An option that names a file or a folder. */
type PathOption = "--image" | "--layout" | "--root";

/**
 * Where a path leads. Root does not follow what somebody else may have planted: a link counts if it is root's (or the
 * caller's) and lies where nobody else can turn it, like /var/run.
 */
function checkedWay(
  kernel: Kernel,
  option: PathOption,
  path: string,
  followsLast = true,
): ReturnType<typeof wayOf> {
  const way = wayOf(kernel, path, followsLast);
  if (way.planted === null) return way;
  throw new VolumeError(
    "usage",
    `${option} ${path} leads over the symbolic link ${way.planted.path}, which ${way.planted.why}`,
    { hint: `if what it leads to now is meant, name that: ${option} ${shellWord(way.path)}` },
  );
}

/** Opens what such a path leads to. */
export function openWithoutLinks(
  kernel: Kernel,
  option: PathOption,
  path: string,
  flags: number,
  mode = 0,
): number {
  const open = (at: string): number =>
    kernel.openBeneath(AT_FDCWD, at, flags, RESOLVE_NO_SYMLINKS, mode);
  try {
    return open(path);
  } catch (error) {
    if (!isErrno(error, Errno.ELOOP)) throw error;
  }
  return open(checkedWay(kernel, option, path, (flags & O_NOFOLLOW) === 0).path);
}

/** The same of a directory that is open already, by its real path; null: of one that is missing. */
export function assertNoPlantedLink(
  kernel: Kernel,
  option: PathOption,
  path: string,
  real: string | null,
): void {
  if (real === path) return;
  const way = checkedWay(kernel, option, path);
  if (real === null || real === way.path) return;
  throw new VolumeError("busy", `${option} ${path} led to ${real} a moment ago, and not any more`, {
    hint: "see who turns a link on the way, then run the command again",
  });
}

/** Makes a directory and what is missing above it; not at the end of a link that leads to nothing. */
export function makeWithoutLinks(
  kernel: Kernel,
  option: PathOption,
  path: string,
  mode: number,
): void {
  const way = checkedWay(kernel, option, path);
  if (way.isDangling) throw new SystemError("mkdir", Errno.ENOENT, path);
  makeDirectories(kernel, way.path, mode);
}
