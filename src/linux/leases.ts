import { signals } from "./calls/signals.ts";
import { Errno, SystemError } from "./errno.ts";
import type { Kernel } from "./kernel.ts";

/** asm-generic/fcntl.h and linux/fcntl.h */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_UNLCK = 2;

/**
 * Whether anybody has a file open for writing, mapped into memory too, as the kernel counts it: it gives a lease
 * for reading to nobody then (fcntl(2), F_SETLEASE). `fd` is open for reading only, and its owner asks, or root. False where
 * the filesystem knows no leases or the kernel does not tell.
 */
export function isOpenForWriting(kernel: Kernel, fd: number): boolean {
  try {
    // Who opens it in the moment until the lease is given back sends a signal, SIGIO unless told otherwise, which would
    // end the program; this one does nothing without a handler.
    kernel.fcntl(fd, F_SETSIG, signals.SIGURG);
    kernel.fcntl(fd, F_SETLEASE, F_RDLCK);
    kernel.fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return error.errno === Errno.EAGAIN;
  }
}
