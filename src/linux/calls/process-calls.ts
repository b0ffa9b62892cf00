import { syscall } from "#native";
import { numberOf } from "./numbers.ts";
import { call } from "./system-call.ts";

/** linux/kcmp.h */
const KCMP_FILES = 2;

export interface ProcessCalls {
  umask(mask: number): number;
  geteuid(): number;
  /**
   * kcmp(2), KCMP_FILES: whether two threads have one table of open files. False also where that is not told: the
   * kernel may know no such call, or may not let us look into them.
   */
  haveSameFiles(thread: number, other: number): boolean;
}

/** Our own program never changes its user. */
function askedOnce(isLasting: boolean, ask: () => number): () => number {
  let known: number | null = null;
  return () => {
    const answer = known ?? ask();
    if (isLasting) known = answer;
    return answer;
  };
}

/** `isProgram`: it is our own, and not a library in somebody else's. */
export const processCalls = (isProgram: boolean): ProcessCalls => ({
  umask: (mask) => call("umask", undefined, mask),
  haveSameFiles: (thread, other) => syscall(numberOf.kcmp, thread, other, KCMP_FILES, 0, 0) === 0,
  geteuid: askedOnce(isProgram, () => call("geteuid", undefined)),
});
