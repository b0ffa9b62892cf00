import type { Kernel } from "../linux/kernel.ts";
import type { DeviceSize } from "../linux/block-device.ts";
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

/** Whether a disk answers a read within the time, if only that it cannot be read. */
export function diskAnswers(
  kernel: Kernel,
  fd: number,
  sizeBytes: number,
  waitMs: number = answerMs,
): boolean {
  const place = somePlace(sizeBytes);
  // What cannot be read does not come either: the child tells one from the other.
  return kernel.pageComes(fd, place, aloneMs) || answersInTime(kernel, fd, place, waitMs);
}

export const silentHint =
  "see whether the disk is there, and whether what serves it works (dmesg; losetup -l for a loop device)";

/** Throws `unreadable` for a disk that does not answer. */
export function assertDiskAnswers(
  kernel: Kernel,
  device: Pick<DeviceSize, "sizeBytes"> & { readonly path: string; readonly fd: number },
): void {
  if (diskAnswers(kernel, device.fd, device.sizeBytes)) return;
  throw new VolumeError("unreadable", `${device.path} does not answer`, {
    hint: silentHint,
  });
}
