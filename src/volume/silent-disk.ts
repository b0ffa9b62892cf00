import type { Kernel } from "../linux/kernel.ts";
import type { DeviceSize } from "../linux/block-device.ts";
import type { Progress } from "./context.ts";
import { VolumeError } from "./error.ts";
import { answersInTime } from "./slow-look.ts";

/**
 * Disks that may never answer: their server is gone, their path is down, they are held back. A read of one cannot
 * be ended, nor can a mount. So the disk is told to read a page ahead, for which nobody waits.
 */

/** No page is larger, of those that kernels have today. */
const largestPageBytes = 65_536;

/** A child costs some milliseconds; nearly every disk needs less than this. */
const aloneMs = 60;

/** So long a disk may take for one page. */
const answerMs = 3000;

/** Another page each time: one that was read before would be had from a cache. */
function somePlace(sizeBytes: number): number {
  return Math.floor((Math.random() * sizeBytes) / largestPageBytes) * largestPageBytes;
}

/** Whether a disk answers a read within the time, if only that it cannot be read. `onSlow` is told of a wait. */
export function diskAnswers(
  kernel: Kernel,
  fd: number,
  sizeBytes: number,
  waitMs: number = answerMs,
  onSlow: () => void = () => undefined,
): boolean {
  const place = somePlace(sizeBytes);
  // What cannot be read does not come either: the child tells one from the other.
  if (kernel.pageComes(fd, place, aloneMs)) return true;
  onSlow();
  return answersInTime(kernel, fd, place, waitMs);
}

export const silentHint =
  "see whether the disk is there, and whether what serves it works (dmesg; losetup -l for a loop device)";

/** Throws `unreadable` for a disk that does not answer. */
export function assertDiskAnswers(
  kernel: Kernel,
  {
    path,
    fd,
    sizeBytes,
  }: Pick<DeviceSize, "sizeBytes"> & { readonly path: string; readonly fd: number },
  progress: Progress,
): void {
  const onSlow = (): void => progress(`waiting for ${path} to answer`);
  if (diskAnswers(kernel, fd, sizeBytes, answerMs, onSlow)) return;
  throw new VolumeError("unreadable", `${path} does not answer`, {
    hint: silentHint,
  });
}
