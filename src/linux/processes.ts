import type { Deadline } from "./deadline.ts";
import { Errno, isErrno, SystemError } from "./errno.ts";
import { namesIn, readTextOrNull, statOrNull, withFd } from "./files.ts";
import { type FileStatus, type Kernel, O_DIRECTORY, O_RDONLY } from "./kernel.ts";

/** The names in a folder of a process that may have ended, or may not be looked at. */
export function namesOrNone(kernel: Kernel, path: string): readonly string[] {
  try {
    return namesIn(kernel, path);
  } catch (error) {
    if (isErrno(error, Errno.EACCES, Errno.EPERM, Errno.ESRCH, Errno.ENOTDIR)) return [];
    throw error;
  }
}

/** The processes that can be seen, the oldest first as a rule. */
export const processIds = (kernel: Kernel): readonly string[] =>
  namesIn(kernel, "/proc").filter((name) => /^\d+$/.test(name));

/** Our own process; "" where /proc does not say. */
export const ownProcessId = (kernel: Kernel): string => {
  try {
    return kernel.readlink("/proc/self");
  } catch (error) {
    if (error instanceof SystemError) return "";
    throw error;
  }
};

/** The folder of each thread of a process, /proc/PID/task/TID; the one it began with is the first. */
export const threadFolders = (kernel: Kernel, pid: string): readonly string[] =>
  namesOrNone(kernel, `/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);

/** The size of a folder of /proc that is not there, or may not be asked for, is not known. */
const sizeOf = (kernel: Kernel, folder: string): number =>
  statusOf(kernel, folder)?.sizeBytes ?? -1;

/**
 * Tells of the folder of a process whether it has no file open, by one call where the kernel counts them: since Linux
 * 6.2 the size of /proc/PID/fd is their number. Before, all are of no size, ours too. Half of all processes are the
 * kernel's own and have none.
 */
export function hasNoFilesTest(kernel: Kernel): (folder: string) => boolean {
  // Nobody reads this folder without a file that is open.
  const isCounted = sizeOf(kernel, "/proc/self/fd") > 0;
  return (folder) => isCounted && sizeOf(kernel, `${folder}/fd`) === 0;
}

/** "." and "..", and one folder for each thread. */
const linksOfOneThread = 3;

/** The same of those that have a table of open files of their own. */
export function otherFileTables(kernel: Kernel, pid: string): readonly string[] {
  const folder = `/proc/${pid}/task`;
  // Asked first, because most processes have one thread, and so have all of the kernel's.
  const links = statusOf(kernel, folder)?.linkCount ?? 0;
  if (links <= linksOfOneThread) return [];
  return namesOrNone(kernel, folder)
    .filter((thread) => thread !== pid && !kernel.haveSameFiles(Number(pid), Number(thread)))
    .map((thread) => `${folder}/${thread}`);
}

function statusOf(kernel: Kernel, path: string): FileStatus | null {
  try {
    return statOrNull(kernel, path);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/** "process 4711 (dockerd)" */
export const processText = (kernel: Kernel, pid: string): string =>
  `process ${pid} (${readTextOrNull(kernel, `/proc/${pid}/comm`) ?? "it has ended"})`;

/**
 * The first entry of a folder of /proc, as that of a process' open files, that is wanted; null when there is none. A
 * process may have a million files open, so their names are read a few at a time.
 */
export function findEntry(
  kernel: Kernel,
  folder: string,
  until: Deadline,
  isWanted: (name: string) => boolean,
): string | null {
  try {
    return withFd(kernel, kernel.open(folder, O_RDONLY | O_DIRECTORY), (fd) => {
      for (;;) {
        const names = kernel.readDirectory(fd, 1);
        if (names.length === 0) return null;
        const found = names.find(isWanted);
        if (found !== undefined) return found;
        if (until.isOver) return null;
      }
    });
  } catch (error) {
    const { ENOENT, EACCES, EPERM, ESRCH, EINVAL } = Errno;
    if (isErrno(error, ENOENT, EACCES, EPERM, ESRCH, EINVAL)) return null;
    throw error;
  }
}
