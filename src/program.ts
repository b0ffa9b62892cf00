import { run } from "./cli/run.ts";
import { LibcKernel } from "./linux/libc-kernel.ts";

/**
 * All of the program that needs the kernel; gives the exit status. In a file of its own, so that what every
 * boot needs is one import.
 */
export const runProgram = (argv: readonly string[]): Promise<number> => run(new LibcKernel(), argv);
