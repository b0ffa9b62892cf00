import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync, openSync } from "node:fs";

const { symbols: libc } = dlopen("libc.so.6", {
  lseek: { args: [FFIType.i32, FFIType.i64, FFIType.i32], returns: FFIType.i64_fast },
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.u64], returns: FFIType.i32 },
  fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
});

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Yields the parts of a sparse file that hold data. */
export function* dataExtents(fd: number, size: number): Generator<{ start: number; end: number }> {
  let position = 0;
  while (position < size) {
    const start = Number(libc.lseek(fd, position, SEEK_DATA));
    if (start < 0) return;
    const end = Number(libc.lseek(fd, start, SEEK_HOLE));
    yield { start, end };
    position = end;
  }
}

const LOCK_EX_NB = 2 | 4;

/** Takes an exclusive flock as another program would; returns how to let go of it. */
export function lockExclusively(path: string): () => void {
  const fd = openSync(path, "r");
  if (libc.flock(fd, LOCK_EX_NB) !== 0) throw new Error(`${path} is locked already`);
  return () => closeSync(fd);
}

export type LockKind = "POSIX read" | "POSIX write" | "OFD read" | "OFD write";

const F_SETLK = 6;
const F_OFD_SETLK = 37;

/**
 * Locks bytes of a file as another program would (fcntl_locking(2)); a length of 0 is to its end and beyond. Returns
 * how to let go of them.
 */
export function lockBytes(path: string, kind: LockKind, start: number, length: number): () => void {
  const fd = openSync(path, "r+");
  const lock = new DataView(new ArrayBuffer(32));
  lock.setInt16(0, kind.endsWith("write") ? 1 : 0, true);
  lock.setBigInt64(8, BigInt(start), true);
  lock.setBigInt64(16, BigInt(length), true);
  const command = kind.startsWith("OFD") ? F_OFD_SETLK : F_SETLK;
  if (libc.fcntl(fd, command, ptr(lock)) !== 0) throw new Error(`${path} is locked already`);
  let isOpen = true;
  return () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
}

const LOOP_CTL_ADD = 0x4c80;
const LOOP_CTL_REMOVE = 0x4c81;

function loopControl(request: number, loopNumber: number): number {
  const fd = openSync("/dev/loop-control", "r+");
  const result = libc.ioctl(fd, request, loopNumber);
  closeSync(fd);
  return result;
}

/** Makes a loop device that has a node and no medium. */
export function addEmptyLoop(): string {
  for (let loopNumber = 500; loopNumber < 600; loopNumber += 1) {
    if (loopControl(LOOP_CTL_ADD, loopNumber) >= 0) return `/dev/loop${loopNumber}`;
  }
  throw new Error("no free number for a loop device");
}

export function removeLoop(device: string): void {
  loopControl(LOOP_CTL_REMOVE, Number(device.replace("/dev/loop", "")));
}

export const BLKFLSBUF = 0x1261;

/** Writes out and forgets what the cache has of a device: the next read asks the file behind it. */
export function dropCache(device: string): void {
  const fd = openSync(device, "r");
  const result = libc.ioctl(fd, BLKFLSBUF, 0);
  closeSync(fd);
  if (result !== 0) throw new Error(`the cache of ${device} cannot be dropped`);
}
