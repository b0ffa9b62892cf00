import { version } from "../package.json" with { type: "json" };
import { run } from "./cli/run.ts";
import { LibcKernel } from "./linux/libc-kernel.ts";

const argv = process.argv.slice(2);

/** The one command that needs nothing of the kernel, and so does not wait for libc to be bound. */
async function showVersion(): Promise<number> {
  try {
    await Bun.write(Bun.stdout, `arcbox-agent ${version}\n`);
  } catch (error) {
    // A reader that went away is nobody to tell about it.
    if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
  }
  return 0;
}

try {
  process.exitCode = await (argv[0] === "--version" ? showVersion() : run(new LibcKernel(), argv));
} catch (error) {
  // Standard output is full or broken: what was done is done, but nobody was told.
  console.error(`arcbox-agent: internal: ${String(error)}`);
  process.exitCode = 1;
}
