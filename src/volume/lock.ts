import { readText, readTextOrNull, statFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Progress } from "./context.ts";
import { VolumeError } from "./error.ts";

/** How long another run may take before we give up on it. */
const lockWaitMs = 30_000;
/** flock(2) cannot be waited for together with anything else, so it is asked again. */
const lockRetryMs = 20;

/** Who holds a flock on this file: /proc/locks names the process by its number (proc_locks(5)). */
function holderOf(kernel: Kernel, fd: number): string {
  const { inode } = statFd(kernel, fd);
  for (const line of readText(kernel, "/proc/locks").split("\n")) {
    const [, type, , , pid, file] = line.split(/\s+/).filter((field) => field !== "->");
    if (type !== "FLOCK" || pid === undefined || !file?.endsWith(`:${inode}`)) continue;
    return `process ${pid} (${readTextOrNull(kernel, `/proc/${pid}/comm`) ?? "it has ended"})`;
  }
  return "another process";
}

/**
 * Takes the exclusive lock that keeps two runs (and udev) apart; it is held until the
 * descriptor is closed, here and in every process that inherited it.
 */
export function lock(kernel: Kernel, fd: number, path: string, progress: Progress): void {
  if (kernel.tryLock(fd)) return;
  progress(`waiting for the lock on ${path} that ${holderOf(kernel, fd)} holds`);
  const deadlineMs = kernel.nowMs() + lockWaitMs;
  while (!kernel.tryLock(fd)) {
    if (kernel.nowMs() >= deadlineMs) {
      const holder = holderOf(kernel, fd);
      throw new VolumeError("busy", `${path} is locked by ${holder} for ${lockWaitMs / 1000} s`, {
        hint: "let that run end, or end it if it hangs",
      });
    }
    kernel.waitReadable([], lockRetryMs);
  }
}
