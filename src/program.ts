import { run } from "./cli/run.ts";
import { UnreachableKernel } from "./linux/libc.ts";
import { LibcKernel } from "./linux/libc-kernel.ts";

/**
 * All of the program that needs the kernel; gives the exit status. In a file of its own, so that what every
 * boot needs is one import.
 */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let kernel: LibcKernel;
  try {
    kernel = new LibcKernel("/proc/self/exe");
  } catch (error) {
    if (!(error instanceof UnreachableKernel)) throw error;
    const { reportUnreachable } = await import("./cli/unreachable.ts");
    return reportUnreachable(error, argv.includes("--json"));
  }
  return run(kernel, argv);
}
