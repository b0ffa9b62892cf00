import { Errno, isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { i32, struct, u16, u64 } from "./struct.ts";

/**
 * Open file description locks (fcntl_locking(2)): on ranges of bytes, and let go of when the last that
 * holds the open file does. A loop device holds the one it was given until it is detached.
 */

/** asm-generic/fcntl.h, struct flock of 64-bit machines */
const flockFields = struct(32, {
  type: u16(0),
  whence: u16(2),
  start: u64(8),
  /** 0: to the end of all files. */
  length: u64(16),
  pid: i32(24),
});
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** Bytes from `start` up to, but not including, `end`; null: all behind `start`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number | null;
}

export const oneByte = (at: number): ByteRange => ({ start: at, end: at + 1 });

function encode({ start, end }: ByteRange, isExclusive: boolean): Uint8Array {
  return flockFields.encode({
    type: isExclusive ? F_WRLCK : F_RDLCK,
    start: BigInt(start),
    length: BigInt(end === null ? 0 : end - start),
  });
}

/** A lock of somebody else. */
export interface OtherLock {
  /** null of an open file description's lock, which may have many holders. */
  readonly pid: number | null;
}

/** The lock of another open file that stands in the way of a lock here; null when there is none. */
export function findLock(
  kernel: Kernel,
  fd: number,
  range: ByteRange,
  isExclusive: boolean,
): OtherLock | null {
  const lock = encode(range, isExclusive);
  kernel.fcntl(fd, F_OFD_GETLK, lock);
  const { type, pid } = flockFields.decode(lock);
  if (type === F_UNLCK) return null;
  // A holder in another PID namespace is process 0.
  return { pid: pid > 0 ? pid : null };
}

/** Takes a lock without waiting; false when somebody else holds one that is in its way. */
export function tryLockRange(
  kernel: Kernel,
  fd: number,
  range: ByteRange,
  isExclusive: boolean,
): boolean {
  try {
    kernel.fcntl(fd, F_OFD_SETLK, encode(range, isExclusive));
    return true;
  } catch (error) {
    if (isErrno(error, Errno.EAGAIN, Errno.EACCES)) return false;
    throw error;
  }
}
