import { run } from "./cli/run.ts";
import { LibcKernel } from "./linux/libc-kernel.ts";

const kernel = new LibcKernel();
try {
  process.exitCode = await run(kernel, process.argv.slice(2));
} catch (error) {
  // Standard output is full or broken: what was done is done, but nobody was told.
  console.error(`arcbox-agent: internal: ${String(error)}`);
  process.exitCode = 1;
}
