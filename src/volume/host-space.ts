import { Errno, isErrno } from "../linux/errno.ts";
import { statFd } from "../linux/files.ts";
import { isRegularFile, type Kernel } from "../linux/kernel.ts";
import { readMounts } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { comparedSizes, sizeText } from "./size.ts";

/**
 * A sparse image takes space of its host's filesystem when something is written to it. Where there is none left,
 * the loop device answers EIO, and nothing in that says why.
 */
export interface HostSpace {
  readonly image: string;
  /** Where the filesystem is mounted that the image lies on. */
  readonly path: string;
  readonly availableBytes: number;
  /** What the image may still take. */
  readonly neededBytes: number;
}

/**
 * `fd`: the image of `sizeBytes`, or the folder in which it will be; null where the filesystem does not tell, as some
 * on a network do not.
 */
export function hostSpaceOf(
  kernel: Kernel,
  fd: number,
  image: string,
  sizeBytes: number,
): HostSpace | null {
  const { totalBytes, availableBytes } = kernel.fstatfs(fd);
  if (totalBytes === 0) return null;
  const status = statFd(kernel, fd);
  const takenBytes = isRegularFile(status) ? status.allocatedBytes : 0;
  return {
    image,
    // Looked up only where it is told.
    get path() {
      const [mount] = readMounts(kernel, ({ id }) => id === status.mountId);
      return mount?.path ?? image.slice(0, image.lastIndexOf("/") + 1);
    },
    availableBytes,
    neededBytes: Math.max(0, sizeBytes - takenBytes),
  };
}

export const isTooSmall = ({ availableBytes, neededBytes }: HostSpace): boolean =>
  neededBytes > availableBytes;

/** What mkfs.btrfs 6.2 and 7.3 write to a disk, and the first mount, and some more. */
const leastBytes = 8 * 1024 ** 2;
/** An image that has all of its space already may be written to where nothing is left. */
export const isFull = ({ availableBytes, neededBytes }: HostSpace): boolean =>
  availableBytes < Math.min(leastBytes, neededBytes);

export function spaceText({ image, path, availableBytes, neededBytes }: HostSpace): string {
  const [needed, available] = comparedSizes(neededBytes, availableBytes);
  return `the image ${image} may take ${needed} more, and ${path}, which it lies on, has ${available} left`;
}

export const spaceHint = ({ path }: HostSpace): string =>
  `free some space on ${path}, or use an image on another filesystem`;

/** What there is to say before anything is written; null where there is room. */
export function spaceWarning(space: HostSpace | null, willGrow: boolean): string | null {
  if (space === null) return null;
  const isWorthIt = isFull(space) || (willGrow && isTooSmall(space));
  return isWorthIt ? `${spaceText(space)}: what is written beyond that fails` : null;
}

/** Before a format, which writes a few MiB. */
export function assertRoom(space: HostSpace | null): void {
  if (space === null || !isFull(space)) return;
  const { image, path, availableBytes } = space;
  const why = `there is no space for the image ${image}: ${path} has ${sizeText(availableBytes)} left`;
  throw new VolumeError("no-space", why, { hint: spaceHint(space) });
}

const codes: readonly string[] = [
  "format-failed",
  "mount-failed",
  "read-only",
  "unreadable",
  "damaged",
];
const errnos: readonly number[] = [Errno.EIO, Errno.ENOSPC, Errno.EDQUOT, Errno.EROFS];

/** A failure as it is for who has a full host: `no-space`, with the first error in its words. */
export function asNoSpace(error: unknown, spaceOf: () => HostSpace | null): unknown {
  const isSuspect =
    error instanceof VolumeError ? codes.includes(error.code) : isErrno(error, ...errnos);
  if (!isSuspect || !(error instanceof Error)) return error;
  const space = spaceOf();
  if (space === null || !isFull(space)) return error;
  const { image, path } = space;
  return new VolumeError(
    "no-space",
    `${path}, on which the image ${image} lies, is full: ${error.message}`,
    {
      cause: error,
      hint: `${spaceHint(space)}; then run the command again`,
    },
  );
}
