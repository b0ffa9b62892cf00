import { Errno, isErrno } from "../linux/errno.ts";
import { isSysfsMounted, statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";

const notMounted = (path: string, type: string, cause: Error): VolumeError =>
  new VolumeError("unsupported", `${path} is not mounted: ${cause.message}`, {
    cause,
    hint: `mount it first: mount -t ${type} ${type} ${path}`,
  });

/**
 * What to say of an error that came of a missing /proc or /sys; null of any other. The first has the mount table, and
 * without the second nothing shows what a disk is called, is attached to, or is mounted as.
 */
export function withoutProcOrSys(kernel: Kernel, error: unknown): VolumeError | null {
  if (!(error instanceof Error) || !isErrno(error, Errno.ENOENT)) return null;
  if (statOrNull(kernel, "/proc/self") === null) return notMounted("/proc", "proc", error);
  return isSysfsMounted(kernel) ? null : notMounted("/sys", "sysfs", error);
}
