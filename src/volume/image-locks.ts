import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import {
  type ByteRange,
  findLock,
  type OtherLock,
  oneByte,
  tryLockRange,
} from "../linux/file-locks.ts";
import { namesIn, readTextOrNull, statFd } from "../linux/files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type FileStatus, type Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";

/**
 * QEMU keeps two programs from one raw image by locks on single bytes (block/file-posix.c,
 * raw_apply_lock_bytes()): a shared lock on byte 100 + n says "I do this", one on 200 + n "nobody else may".
 * n is 0 to read what is consistent, 1 to write, 3 to resize (include/block/block-common.h, BLK_PERM_*).
 */
const readByte = 100;
const volumeBytes: readonly number[] = [readByte, 101, 103, 201, 203];

/** "arcbox": no other program's. On the next run it tells that the loop device is one that we attached. */
const markByte = 0x6172_6362_6f78;

/** Where a filesystem has no such locks, nobody else has one either. */
const lockless: readonly number[] = [Errno.EINVAL, Errno.ENOLCK, Errno.ENOSYS, Errno.EOPNOTSUPP];

/** The bytes between these and around them. */
function gapsOf(bytes: readonly number[]): readonly ByteRange[] {
  const starts = [0, ...bytes.map((byte) => byte + 1)];
  return starts
    .map((start, i) => ({ start, end: bytes[i] ?? null }))
    .filter(({ start, end }) => start !== end);
}

/** A lock of a stranger; `isOurs`: the locks that a loop device of ours holds are none. */
function strangersLock(kernel: Kernel, fd: number, isOurs: boolean): OtherLock | null {
  if (findLock(kernel, fd, { start: 0, end: null }, true) === null) return null;
  // Here others may read-lock: who reads an image and allows it to change does.
  const shared = isOurs ? volumeBytes : [readByte];
  const gaps = gapsOf(isOurs ? [...shared, markByte] : shared);
  for (const range of gaps) {
    const found = findLock(kernel, fd, range, true);
    if (found !== null) return found;
  }
  for (const byte of shared) {
    const found = findLock(kernel, fd, oneByte(byte), false);
    if (found !== null) return found;
  }
  return null;
}

const whoHas = (kernel: Kernel, fd: number, { pid }: OtherLock): string =>
  (pid === null ? openerOf(kernel, statFd(kernel, fd)) : processText(kernel, pid)) ??
  "another program";

/**
 * Who else has a lock on an open image or disk: QEMU's, or any other; null when nobody has. `isAttached`:
 * the image has a loop device, which may be ours, with the locks of `lockImage`.
 */
export function lockedBy(kernel: Kernel, fd: number, isAttached: boolean): string | null {
  return withLocks(() => {
    const isOurs = isAttached && findLock(kernel, fd, oneByte(markByte), true) !== null;
    const lock = strangersLock(kernel, fd, isOurs);
    return lock === null ? null : whoHas(kernel, fd, lock);
  });
}

export const lockedError = (path: string, who: string): VolumeError =>
  new VolumeError("busy", `${path} is in use: ${who} has locked it`, {
    hint: `see who has it open (lslocks; fuser -v ${path}) and stop that first`,
  });

/**
 * Locks an image as QEMU would that writes to it, for as long as its open file description lives. `fd` is
 * open for writing. Throws `busy` when somebody else has a lock.
 */
export function lockImage(kernel: Kernel, fd: number, path: string): void {
  const who = withLocks(() => {
    // Locked first and looked at then, as QEMU does it: of two at once, none goes on unseen.
    const isLocked =
      volumeBytes.every((byte) => tryLockRange(kernel, fd, oneByte(byte), false)) &&
      tryLockRange(kernel, fd, oneByte(markByte), true);
    const lock = isLocked ? strangersLock(kernel, fd, false) : { pid: null };
    return lock === null ? null : whoHas(kernel, fd, lock);
  });
  if (who !== null) throw lockedError(path, who);
}

function withLocks(work: () => string | null): string | null {
  try {
    return work();
  } catch (error) {
    if (isErrno(error, ...lockless)) return null;
    throw error;
  }
}

const processText = (kernel: Kernel, pid: number | string): string =>
  `process ${pid} (${readTextOrNull(kernel, `/proc/${pid}/comm`) ?? "it has ended"})`;

/** A process but ourselves that has a file open; null when none can be seen. */
function openerOf(kernel: Kernel, file: FileStatus): string | null {
  const self = kernel.readlink("/proc/self");
  const pids = namesIn(kernel, "/proc").filter((name) => /^\d+$/.test(name) && name !== self);
  const pid = pids.find((name) => hasOpen(kernel, name, file));
  return pid === undefined ? null : processText(kernel, pid);
}

function hasOpen(kernel: Kernel, pid: string, { inode, device }: FileStatus): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    return namesIn(kernel, folder).some((fd) => {
      const found = lookAt(kernel, `${folder}/${fd}`);
      return found?.inode === inode && found.device === device;
    });
  } catch (error) {
    // It has ended, or may not be looked at.
    if (error instanceof SystemError) return false;
    throw error;
  }
}

/** What a link leads to, without asking a filesystem that may not answer. */
function lookAt(kernel: Kernel, link: string): FileStatus | null {
  try {
    return kernel.statx(AT_FDCWD, link, AT_STATX_DONT_SYNC);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
