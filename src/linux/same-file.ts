import { isErrno, Errno } from "./errno.ts";
import { withFd } from "./files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type FileStatus, type Kernel, O_PATH } from "./kernel.ts";

/** linux/magic.h */
const OVERLAYFS_SUPER_MAGIC = 0x794c7630;

/** A file that is written to meanwhile is looked at again. */
const attempts = 5;

const haveOneBirth = (one: FileStatus, other: FileStatus): boolean =>
  one.sizeBytes === other.sizeBytes && one.bornSeconds === other.bornSeconds;

const haveOneHistory = (one: FileStatus, other: FileStatus): boolean =>
  haveOneBirth(one, other) &&
  one.changedSeconds === other.changedSeconds &&
  one.allocatedBytes === other.allocatedBytes;

export const isOnOverlay = (kernel: Kernel, path: string): boolean =>
  withFd(kernel, kernel.open(path, O_PATH), (fd) => kernel.fstatfs(fd).magic) ===
  OVERLAYFS_SUPER_MAGIC;

/**
 * Whether two paths are two names of one file, of which one is on an overlay and the other in its layers (or in another
 * overlay). Device and inode are different ones then, and so are locks; but the overlay passes on when the file
 * was born and last changed, to the nanosecond, and how large it is. A copy is born later, and no call sets that.
 */
export function isOneFileByOverlay(kernel: Kernel, one: string, other: string): boolean {
  const look = (path: string): FileStatus => kernel.statx(AT_FDCWD, path, AT_STATX_DONT_SYNC);
  try {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const [first, second] = [look(one), look(other)];
      if (first.device === second.device || !haveOneBirth(first, second)) return false;
      if (haveOneHistory(first, second)) {
        return isOnOverlay(kernel, one) || isOnOverlay(kernel, other);
      }
    }
    return false;
  } catch (error) {
    // By this path a loop device's file may not be reached from here.
    const { ENOENT, ENOTDIR, EACCES, ENOTCONN, ESTALE, EIO, ELOOP } = Errno;
    if (isErrno(error, ENOENT, ENOTDIR, EACCES, ENOTCONN, ESTALE, EIO, ELOOP)) return false;
    throw error;
  }
}
