import { Deadline } from "../linux/deadline.ts";
import { linesOrNone, statFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Progress } from "./context.ts";
import { VolumeError } from "./error.ts";
import { openerText } from "./openers.ts";

/** How long another run may take before we give up on it. */
const lockWaitMs = 30_000;
/** flock(2) cannot be waited for together with anything else, so it is asked again. */
const lockRetryMs = 20;

/** A user may have millions of locks, and a name is not worth more time than this. */
const lookMs = 1000;

/** Who holds a flock on this file; null when nobody does, or there are too many locks. From /proc/locks (proc_locks(5)). */
export function lockHolder(kernel: Kernel, fd: number): string | null {
  const { inode, device } = statFd(kernel, fd);
  const twoDigits = (number: string): string => Number(number).toString(16).padStart(2, "0");
  const file = `${device.split(":").map(twoDigits).join(":")}:${inode}`;
  const until = new Deadline(kernel, lookMs);
  for (const lines of linesOrNone(kernel, "/proc/locks")) {
    if (until.isOver) return null;
    if (!lines.includes(file)) continue;
    for (const line of lines.split("\n")) {
      // "1: FLOCK  ADVISORY  WRITE 4711 00:06:332 0 EOF"; "1: -> FLOCK …" is one that waits.
      const [, type, , , pid, locked] = line.split(/\s+/);
      if (type !== "FLOCK" || locked !== file) continue;
      return pid === undefined ? null : openerText(kernel, pid);
    }
  }
  return null;
}

const holderText = (kernel: Kernel, fd: number): string =>
  lockHolder(kernel, fd) ?? "another process";

/**
 * Takes the exclusive lock that keeps two runs (and udev) apart; it is held until the
 * descriptor is closed, here and in every process that inherited it.
 */
export function lock(kernel: Kernel, fd: number, path: string, progress: Progress): void {
  if (kernel.tryLock(fd)) return;
  progress(`waiting for the lock on ${path} that ${holderText(kernel, fd)} holds`);
  const deadlineMs = kernel.nowMs() + lockWaitMs;
  while (!kernel.tryLock(fd)) {
    if (kernel.nowMs() >= deadlineMs) {
      const holder = holderText(kernel, fd);
      throw new VolumeError("busy", `${path} is locked by ${holder} for ${lockWaitMs / 1000} s`, {
        hint: "let that run end, or end it if it hangs",
      });
    }
    kernel.waitReadable([], lockRetryMs);
  }
}
