import { Errno, isErrno, SystemError } from "./errno.ts";
import { namesIn, readTextOrNull } from "./files.ts";
import type { Kernel } from "./kernel.ts";

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

/** "process 4711 (dockerd)" */
export const processText = (kernel: Kernel, pid: string): string =>
  `process ${pid} (${readTextOrNull(kernel, `/proc/${pid}/comm`) ?? "it has ended"})`;
