import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u16 } from "../linux/struct.ts";
import { utf8 } from "../linux/text.ts";

/** Standard output and standard error. */
export type Stream = 1 | 2;

/** What a pipe takes without blocking once poll(2) calls it writable, and a terminal nearly always. */
const pieceBytes = 512;

/**
 * Writes all of a text, as long as its reader takes some of it every `patienceMs`. Asks before it writes,
 * because a write to a full pipe or a stopped terminal ends when somebody reads, or never.
 */
function write(kernel: Kernel, stream: Stream, text: string, patienceMs: number): void {
  const bytes = utf8(text);
  let stalledSinceMs = kernel.nowMs();
  for (let written = 0; written < bytes.length; ) {
    const leftMs = Math.max(0, stalledSinceMs + patienceMs - kernel.nowMs());
    const isWritable = kernel.waitWritable(stream, leftMs);
    try {
      if (!isWritable) throw new SystemError("write", Errno.ETIMEDOUT, names[stream]);
      written += kernel.write(stream, bytes.subarray(written, written + pieceBytes));
      stalledSinceMs = kernel.nowMs();
    } catch (error) {
      // It does not block, and has less room than a piece needs.
      if (!isErrno(error, Errno.EAGAIN)) throw error;
      kernel.waitReadable([], 1);
    }
  }
}

const names = { 1: "standard output", 2: "standard error" } as const;

/** Prints what a command is for, such as a help text. A reader that went away (EPIPE) is no error. */
export function print(kernel: Kernel, stream: Stream, text: string): void {
  try {
    write(kernel, stream, text, Number.POSITIVE_INFINITY);
  } catch (error) {
    if (!isErrno(error, Errno.EPIPE)) throw error;
  }
}

/** How long a command that did its work waits for a reader that takes nothing of its report. */
const reportPatienceMs = 2000;

/**
 * Prints what was done or found. That is as it is, whether or not anybody can be told: a full disk, a
 * closed descriptor or a reader that does not read is no error.
 */
export function tell(kernel: Kernel, stream: Stream, text: string): void {
  const reason = tryToWrite(kernel, stream, text, reportPatienceMs);
  if (reason === null || stream === 2 || reason.errno === Errno.EPIPE) return;
  tryToWrite(kernel, 2, `arcbox-agent: the report is lost: ${reason.message}\n`, 0);
}

/** Prints what is going on, where that needs no waiting. */
export function mention(kernel: Kernel, stream: Stream, text: string): void {
  tryToWrite(kernel, stream, text, 0);
}

function tryToWrite(
  kernel: Kernel,
  stream: Stream,
  text: string,
  patienceMs: number,
): SystemError | null {
  try {
    write(kernel, stream, text, patienceMs);
    return null;
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
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
