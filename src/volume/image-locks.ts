import { Errno, isErrno } from "../linux/errno.ts";
import {
  type ByteRange,
  findLock,
  type OtherLock,
  oneByte,
  tryLockRange,
} from "../linux/file-locks.ts";
import { statFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { isLocking, type Opener, openerOf, openerText, unseen } from "./openers.ts";
import { shellWord } from "./shell-word.ts";

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

function whoHas(kernel: Kernel, fd: number, { pid }: OtherLock): Opener {
  if (pid !== null) return { pid: String(pid), text: openerText(kernel, String(pid)) };
  return openerOf(kernel, statFd(kernel, fd), isLocking) ?? unseen;
}

/**
 * Who else has a lock on an open image or disk: QEMU's, or any other; null when nobody has. `isAttached`:
 * the image has a loop device, which may be ours, with the locks of `lockImage`.
 */
export function lockedBy(kernel: Kernel, fd: number, isAttached: boolean): Opener | null {
  return withLocks(() => {
    const isOurs = isAttached && findLock(kernel, fd, oneByte(markByte), true) !== null;
    const lock = strangersLock(kernel, fd, isOurs);
    return lock === null ? null : whoHas(kernel, fd, lock);
  });
}

const readableByOthers = 0o044;

/**
 * The refusal of an image or a disk that is locked. Every lock is respected, whichever user has it, because a virtual
 * machine that only reads an image runs as a user who may just read it. `mode`: that of the file, or of the node
 * of the disk.
 */
export function lockedError(path: string, { pid, text }: Opener, mode: number): VolumeError {
  const name = shellWord(path);
  const end = pid === null ? "" : ` (kill ${pid}, unless it is a virtual machine to shut down)`;
  const keepOut =
    (mode & readableByOthers) === 0
      ? ""
      : `; every user who may read it can lock it, unless you forbid it: chmod go-r ${name}`;
  return new VolumeError("busy", `${path} is in use: ${text} has locked it`, {
    hint: `stop that first${end}; what else has it open: lslocks; fuser -v ${name}${keepOut}`,
  });
}

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
  if (who !== null) throw lockedError(path, who, statFd(kernel, fd).mode);
}

function withLocks(work: () => Opener | null): Opener | null {
  try {
    return work();
  } catch (error) {
    if (isErrno(error, ...lockless)) return null;
    throw error;
  }
}
