import { errorsOfAll } from "../btrfs/device-stats.ts";
import { SystemError } from "../linux/errno.ts";
import { mountIdOf, noAtime, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../linux/kernel.ts";
import { isForcedReadOnly, type Mount } from "../linux/mountinfo.ts";

const lost = (why: string): string =>
  `ATTENTION: not everything that was written is on the disk: ${why} (see dmesg)`;

/**
 * syncfs(2) tells of a failed write once, to whoever asks first; the disk counts them all. It goes on
 * counting over mounts, and nothing says of an error whether it was in this one.
 */
function failedWrites(kernel: Kernel, mounted: number): string | null {
  const counted = errorsOfAll(kernel, mounted).reduce(
    (sum, { write, flush }) => sum + write + flush,
    0n,
  );
  if (counted === 0n) return null;
  return (
    `ATTENTION: the disk has counted ${counted} failed writes, in this mount or an earlier one: whether all that ` +
    "was written is on it is not known (see dmesg; the next time it is up: btrfs device stats --reset)"
  );
}

/**
 * Writes down what the mounted filesystem still has in memory, through one of its mounts; null when all of
 * it was written, else a note that says why not. umount(2) says 0 either way, and then nobody is left
 * to ask.
 */
export function unsaved(kernel: Kernel, mounts: readonly Mount[]): string | null {
  // syncfs(2) of a filesystem that takes no writes any more has nothing to do, and says 0 too.
  if (mounts.every(isForcedReadOnly))
    return lost("the kernel had made it read-only after an error");
  for (const { path, id } of mounts) {
    try {
      const fd = kernel.open(path, O_RDONLY | O_DIRECTORY | noAtime(kernel));
      const answer = withFd(kernel, fd, () => {
        // Another mount may be on top of this one.
        if (mountIdOf(kernel, fd) !== id) return undefined;
        kernel.syncfs(fd);
        return failedWrites(kernel, fd);
      });
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (error.call === "syncfs") return lost(error.message);
    }
  }
  return "whether everything that was written is on the disk could not be asked: no mount is in sight";
}
