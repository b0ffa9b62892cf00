import { version } from "../package.json" with { type: "json" };
import { print } from "./cli/terminal.ts";
import { commandLine } from "./linux/inherited.ts";
import { linuxKernel } from "./linux/linux-kernel.ts";

const words = commandLine();
const kernel = linuxKernel("/proc/self/exe");

/** The one command that needs nothing of the others, and so does not load them. */
function showVersion(): number {
  print(kernel, 1, `arcbox-agent ${version}\n`);
  return 0;
}

async function runCommand(): Promise<number> {
  const { run } = await import("./cli/run.ts");
  return run(kernel, words);
}

/**
 * The exit status, which the engine reads when nothing is left to do. An error that nobody catches, also of a
 * promise that nobody waits for, ends with status 1 and its trace on standard error (native/executable.c).
 */
export const status = words[0] === "--version" ? showVersion() : await runCommand();
