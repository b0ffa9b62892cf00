import { run } from "./cli/run.ts";
import { LibcKernel } from "./linux/libc-kernel.ts";

process.exitCode = await run(new LibcKernel(), process.argv.slice(2));
