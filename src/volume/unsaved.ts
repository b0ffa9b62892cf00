import { errorsOfAll } from "../btrfs/device-stats.ts";
import { Deadline } from "../linux/deadline.ts";
import { SystemError } from "../linux/errno.ts";
import { mountIdOf, noAtime, withFd } from "../linux/files.ts";
import { writesOf } from "../linux/block-device.ts";
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../linux/kernel.ts";
import { isForcedReadOnly, type Mount } from "../linux/mountinfo.ts";
import type { Context } from "./context.ts";
import type { OpenDevice } from "./device.ts";
import { VolumeError } from "./error.ts";
import { silentHint } from "./silent-disk.ts";
import { syncInTime } from "./slow-look.ts";

const lost = (why: string): string =>
  `ATTENTION: not everything that was written is on the disk: ${why} (see dmesg)`;

/**
 * syncfs(2) tells of a failed write once, to the first who asks; the disk counts all of them. The counters go on
 * over mounts, and do not say in which mount an error was.
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

/** So long a disk may take no write at all, while there is something to write. */
const standstillMs = 3000;
const lookMs = 250;
/** After so long a person is told what takes the time. */
const tellMs = 1000;

function writeDown(
  { kernel, progress }: Pick<Context, "kernel" | "progress">,
  fd: number,
  { name, path }: Pick<OpenDevice, "name" | "path">,
): void {
  let isTold = false;
  const untold = new Deadline(kernel, tellMs);
  let before = writesOf(kernel, name);
  let until = new Deadline(kernel, standstillMs);
  const goesOn = (): boolean => {
    const now = writesOf(kernel, name);
    if (now !== before) until = new Deadline(kernel, standstillMs);
    before = now;
    if (!isTold && untold.isOver) {
      progress(`writing to ${path} what is still in memory`);
      isTold = true;
    }
    return !until.isOver;
  };
  if (syncInTime(kernel, fd, lookMs, goesOn)) return;
  throw new VolumeError(
    "unreadable",
    `${path} does not answer: what is to be written stays in memory, and nothing was unmounted`,
    { hint: silentHint },
  );
}

/**
 * Writes down what the mounted filesystem still has in memory, through one of its mounts; null when all of
 * it was written, else a note that says why not. umount(2) says 0 either way, and then nobody is left
 * to ask. Throws `unreadable` when the disk does not answer.
 */
export function unsaved(
  context: Pick<Context, "kernel" | "progress">,
  mounts: readonly Mount[],
  device: Pick<OpenDevice, "name" | "path">,
): string | null {
  const { kernel } = context;
  // syncfs(2) of a filesystem that takes no writes any more has nothing to do, and says 0 too.
  if (mounts.every(isForcedReadOnly))
    return lost("the kernel had made it read-only after an error");
  for (const { path, id } of mounts) {
    try {
      const fd = kernel.open(path, O_RDONLY | O_DIRECTORY | noAtime(kernel));
      const answer = withFd(kernel, fd, () => {
        // Another mount may be on top of this one.
        if (mountIdOf(kernel, fd) !== id) return undefined;
        writeDown(context, fd, device);
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
