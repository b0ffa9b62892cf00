import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { deviceSizeBytes } from "../linux/block-device.ts";
import { openAtOnce, statFd, withFd } from "../linux/files.ts";
import {
  AT_EMPTY_PATH,
  AT_STATX_DONT_SYNC,
  isBlockDevice,
  type Kernel,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
} from "../linux/kernel.ts";
import { type Mount, type MountLine, mountOver, readMounts, waysTo } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { diskAnswers } from "./silent-disk.ts";
import { silentPath } from "./slow-look.ts";

/**
 * Paths that lead to what may never answer: the daemon of a FUSE filesystem, a server, or a disk. A process that asks
 * waits in the kernel, and cannot even be ended.
 */

const asking = /^(fuse(blk|\..*)?|nfs4?|cifs|smb3|9p|ceph|afs|virtiofs|autofs)$/;

/** Whether a line is of a filesystem that asks a daemon or a server. */
export const isAsking = ({ type }: Pick<MountLine, "type">): boolean => asking.test(type);

const mostMounts = 64;

/** So long an answer may take. */
const answerMs = 2000;

/** The first of these paths that does not answer in time; null when there is none. */
export const firstSilent = (kernel: Kernel, paths: readonly string[]): string | null =>
  silentPath(kernel, paths, answerMs);

/** A filesystem whose disk may not answer either; without that of "/" nothing would run. */
const isOnDisk = ({ path, source }: Pick<Mount, "path" | "source">): boolean =>
  path !== "/" && source.startsWith("/dev/");

/** The same on the way to a path. */
export const hasOwnDisk = (mount: Pick<Mount, "path" | "source">, path: string): boolean =>
  isOnDisk(mount) && waysTo(path).includes(mount.path);

/** What of a mount table lies on the way to a path, at little cost where a table is long. */
function onWayTo(path: string): (line: MountLine) => boolean {
  const ways = new Set(waysTo(path));
  return (line) => ways.has(line.path);
}

/** The first path before which one of these filesystems lies whose disk does not answer; null when there is none. */
export function firstOnSilentDisk(
  kernel: Kernel,
  mounts: readonly Mount[],
  paths: readonly string[],
): string | null {
  const asked = new Map<string, boolean>();
  const isSilent = ({ source }: Mount): boolean => {
    const known = asked.get(source) ?? !sourceAnswers(kernel, source);
    asked.set(source, known);
    return known;
  };
  const onDisk = mounts.filter(isOnDisk);
  const hasSilent = (path: string): boolean =>
    onDisk.some((mount) => mount.path !== path && hasOwnDisk(mount, path) && isSilent(mount));
  return paths.find(hasSilent) ?? null;
}

/**
 * False when what a path leads to does not answer in time. Where nobody has to be asked, that is known at once, as
 * it is of a device.
 */
export function answers(kernel: Kernel, path: string): boolean {
  const mountId = reachedAtOnce(kernel, path);
  if (mountId === "done") return true;
  const isOnWay = onWayTo(path);
  let count = 0;
  const mounts = readMounts(
    kernel,
    (line) => (isAsking(line) && ++count <= mostMounts) || line.id === mountId || isOnWay(line),
  );
  const asking = mounts.filter(isAsking);
  const isAsked =
    mountId === "unknown" ? asking.length > 0 : asking.some(({ id }) => id === mountId);
  const mount =
    mountId === "unknown" ? mountOver(mounts, path) : mounts.find(({ id }) => id === mountId);
  if (mount !== undefined && isOnDisk(mount) && !sourceAnswers(kernel, mount.source)) return false;
  return !isAsked || firstSilent(kernel, [path]) === null;
}

/** Whether the disk of a filesystem answers; true of what is no disk, or may not be opened. */
function sourceAnswers(kernel: Kernel, source: string): boolean {
  try {
    return withFd(kernel, kernel.open(source, O_RDONLY | O_NONBLOCK), (fd) => {
      const sizeBytes = isBlockDevice(statFd(kernel, fd)) ? deviceSizeBytes(kernel, fd) : 0;
      return sizeBytes === 0 || diskAnswers(kernel, fd, sizeBytes);
    });
  } catch (error) {
    if (error instanceof SystemError) return true;
    throw error;
  }
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
    `${path} does not answer: a daemon, a server or a disk is asked there`,
    {
      hint: "see what is mounted there (findmnt), and whether its daemon, its server or its disk works",
    },
  );
}
