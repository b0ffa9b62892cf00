import { Errno, isErrno, reasonOf } from "../linux/errno.ts";
import { openDirectoryBeneath, procPath, statFd, withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { defaultLayout, type Layout } from "./layout.ts";

/** Through the mount of the whole filesystem a user would see what the folder of a daemon hides. */
const privateMode = 0o700;
/** For a directory that is made to be mounted on, or on the way there; once mounted, the subvolume's mode counts. */
export const mountPointMode = 0o755;
const permissionBits = 0o7777;

/** The directory that holds the mount of the whole filesystem, below the root. */
const holderOf = ({ rawPath }: Layout): string =>
  rawPath.slice(1, Math.max(1, rawPath.lastIndexOf("/")));

/**
 * The mode of that directory when it is made: for root alone, but not at the top, like /srv, and not where
 * it leads to a subvolume's mount point, because others look there for something else.
 */
export function holderMode(layout: Layout): number {
  const holder = holderOf(layout);
  const isShared = layout.entries.some(({ path }) => path.startsWith(`/${holder}/`));
  return holder.includes("/") && !isShared ? privateMode : mountPointMode;
}

/** True when others than root may look into the directory of the built-in layout, which is ours alone. */
export function isHolderOpen(kernel: Kernel, root: number, layout: Layout): boolean {
  if (layout.rawPath !== defaultLayout.rawPath) return false;
  let fd: number;
  try {
    fd = openDirectoryBeneath(kernel, root, holderOf(layout));
  } catch (error) {
    // The mount, which comes later, tells what is in the way.
    if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) return false;
    throw error;
  }
  const { owner, mode } = withFd(kernel, fd, () => statFd(kernel, fd));
  return owner === 0 && (mode & permissionBits) !== privateMode;
}

/** Closes it to others; a failure is a note. True when it did. */
export function closeHolder(
  kernel: Kernel,
  root: number,
  layout: Layout,
  note: (text: string) => void,
): boolean {
  try {
    withFd(kernel, openDirectoryBeneath(kernel, root, holderOf(layout)), (fd) => {
      kernel.chmod(procPath(fd), privateMode);
    });
    return true;
  } catch (error) {
    note(`/${holderOf(layout)} stays open to every user: ${reasonOf(error)}`);
    return false;
  }
}
