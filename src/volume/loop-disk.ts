import { devicePath } from "../linux/block-device.ts";
import { SystemError } from "../linux/errno.ts";
import { readLineOrNull, statFd, withFd } from "../linux/files.ts";
import { isRegularFile, type Kernel, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "../linux/kernel.ts";
import { backingAt } from "../linux/loop.ts";
import { dataRangesOf, type Disk } from "./disk.ts";
import type { Range } from "./mkfs-ranges.ts";

/**
 * A loop device ("loop0"), whose backing file knows where it holds data. Where that file cannot be reached from
 * here, or is no regular file, nothing is known but what the device shows.
 */
export const loopDisk = (kernel: Kernel, disk: Disk, name: string): Disk => ({
  ...disk,
  dataRanges: () => rangesOf(kernel, disk.sizeBytes, name),
});

function rangesOf(kernel: Kernel, sizeBytes: number, name: string): readonly Range[] {
  const path = readLineOrNull(kernel, `/sys/class/block/${name}/loop/backing_file`);
  if (path === null) return [];
  try {
    const { device, inode, offset } = backingAt(kernel, devicePath(name));
    const start = Number(offset);
    return withFd(kernel, kernel.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), (fd) => {
      const status = statFd(kernel, fd);
      // By this path another mount namespace, or a later file, may be reached.
      const isBacking = status.inode === inode && status.device === device;
      if (!isBacking || !isRegularFile(status)) return [];
      return [...dataRangesOf(kernel, fd)]
        .map(([from, to]): Range => [Math.max(0, from - start), Math.min(sizeBytes, to - start)])
        .filter(([from, to]) => from < to);
    });
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}
