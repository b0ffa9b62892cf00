import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { openAtOnce, withFd } from "../linux/files.ts";
import {
  AT_EMPTY_PATH,
  AT_STATX_DONT_SYNC,
  isBlockDevice,
  type Kernel,
  O_PATH,
} from "../linux/kernel.ts";
import { type MountLine, readMounts } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { silentPath } from "./slow-look.ts";

/**
 * Paths that lead to somebody who may never answer: the daemon of a FUSE filesystem, or a server. Whoever asks waits
 * in the kernel, and cannot even be ended.
 */

const asking = /^(fuse(blk|\..*)?|nfs4?|cifs|smb3|9p|ceph|afs|virtiofs|autofs)$/;

/** Whether a line is of a filesystem that asks somebody. */
export const isAsking = ({ type }: Pick<MountLine, "type">): boolean => asking.test(type);

const mostMounts = 64;

/** So long somebody may take to answer. */
const answerMs = 2000;

/** The first of these paths for which somebody is asked who does not answer in time; null when there is none. */
export const firstSilent = (kernel: Kernel, paths: readonly string[]): string | null =>
  silentPath(kernel, paths, answerMs);

/**
 * False when what a path leads to does not answer in time. Where nobody has to be asked, that is known at once, as
 * it is of a device.
 */
export function answers(kernel: Kernel, path: string): boolean {
  const mountId = reachedAtOnce(kernel, path);
  if (mountId === "done") return true;
  let count = 0;
  const mounts = readMounts(kernel, (line) => isAsking(line) && ++count <= mostMounts);
  const isAsked =
    mountId === "unknown" ? mounts.length > 0 : mounts.some(({ id }) => id === mountId);
  return !isAsked || firstSilent(kernel, [path]) === null;
}

/** The mount in which a path ends; "done" of a device and of what is not there, "unknown" where it takes a look. */
function reachedAtOnce(kernel: Kernel, path: string): number | "done" | "unknown" {
  try {
    return withFd(kernel, openAtOnce(kernel, path, O_PATH), (fd) => {
      const status = kernel.statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC);
      return isBlockDevice(status) ? "done" : status.mountId;
    });
  } catch (error) {
    if (isErrno(error, Errno.EAGAIN)) return "unknown";
    if (error instanceof SystemError) return "done";
    throw error;
  }
}

/** Throws `unreadable` for a disk or an image whose path leads to nobody who answers. */
export function assertAnswers(kernel: Kernel, path: string): void {
  if (answers(kernel, path)) return;
  throw new VolumeError(
    "unreadable",
    `${path} does not answer: a daemon or a server is asked there`,
    {
      hint: "see what is mounted there (findmnt), and whether its daemon or its server works",
    },
  );
}
