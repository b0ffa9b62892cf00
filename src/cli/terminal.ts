import { Errno, isErrno } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u16 } from "../linux/struct.ts";
import { utf8 } from "../linux/text.ts";

/** Standard output and standard error. */
export type Stream = 1 | 2;

/** Writes all of a text. A reader that went away (EPIPE) is nobody to tell about it. */
export function print(kernel: Kernel, stream: Stream, text: string): void {
  const bytes = utf8(text);
  try {
    for (let written = 0; written < bytes.length; ) {
      try {
        written += kernel.write(stream, bytes.subarray(written));
      } catch (error) {
        // A pipe that somebody made non-blocking and that is full: wait until it is read from.
        if (!isErrno(error, Errno.EAGAIN)) throw error;
        kernel.waitReadable([], 1);
      }
    }
  } catch (error) {
    if (!isErrno(error, Errno.EPIPE)) throw error;
  }
}

/** asm-generic/ioctls.h, struct termios of 36 bytes and more: only a terminal answers it. */
const TCGETS = 0x5401;
const termios = struct(64, {});

/** struct winsize of the same header */
const TIOCGWINSZ = 0x5413;
const windowSize = struct(8, { rows: u16(0), columns: u16(2) });
const usualColumns = 80;

/** How wide the terminal is; 80 where there is none or it does not say. */
export function terminalColumns(kernel: Kernel, stream: Stream): number {
  const answer = windowSize.encode({});
  try {
    kernel.ioctl(stream, TIOCGWINSZ, answer);
  } catch {
    return usualColumns;
  }
  return windowSize.decode(answer).columns || usualColumns;
}

export function isTerminal(kernel: Kernel, stream: Stream): boolean {
  try {
    kernel.ioctl(stream, TCGETS, termios.encode({}));
    return true;
  } catch {
    return false;
  }
}
