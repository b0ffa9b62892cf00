import { syscall, type Word } from "#native";
import { Errno, SystemError } from "../errno.ts";
import { cString } from "../text.ts";
import { type Call, numberOf } from "./numbers.ts";

/** A path or name for the kernel, of any bytes (`text.ts`). */
export const nameWord = (text: string): Word => (text.isWellFormed() ? text : cString(text));

/**
 * Makes a call; throws a SystemError with its name, the errno and the subject when it fails. Always with six words,
 * of which the kernel looks at those that it knows: to gather as many as there are takes longer than most calls.
 */
export function call(
  name: Call,
  subject: string | undefined,
  a: Word = 0,
  b: Word = 0,
  c: Word = 0,
  d: Word = 0,
  e: Word = 0,
  f: Word = 0,
): number {
  const result = syscall(numberOf[name], a, b, c, d, e, f);
  if (result < 0) throw new SystemError(name, -result, subject);
  return result;
}

/**
 * The same for a call that a signal may interrupt before it has done anything, and that is then to be
 * made again (signal(7)). Not for ioctl and mount: what those had done by then, nobody says.
 */
export function retried(
  name: Call,
  subject: string | undefined,
  a: Word = 0,
  b: Word = 0,
  c: Word = 0,
  d: Word = 0,
  e: Word = 0,
): number {
  for (;;) {
    const result = syscall(numberOf[name], a, b, c, d, e, 0);
    if (result >= 0) return result;
    if (result !== -Errno.EINTR) throw new SystemError(name, -result, subject);
  }
}
