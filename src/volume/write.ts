import { procPath, withFd, writeExactly } from "../linux/files.ts";
import { type Kernel, O_RDWR } from "../linux/kernel.ts";

/**
 * Writes to the open device and waits until it is there. The only place that writes to a device, and
 * the descriptor is closed at once: a writable one makes udev probe the disk when it closes.
 */
export function writeDurably(
  kernel: Kernel,
  device: number,
  writes: readonly (readonly [offset: number, bytes: Uint8Array])[],
): void {
  withFd(kernel, kernel.open(procPath(device), O_RDWR), (fd) => {
    for (const [offset, bytes] of writes) writeExactly(kernel, fd, bytes, offset);
    kernel.fsync(fd);
  });
}
