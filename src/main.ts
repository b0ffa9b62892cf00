import { version } from "../package.json" with { type: "json" };
import { print } from "./cli/terminal.ts";
import { call } from "./linux/calls/system-call.ts";
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

// An error that nobody catches ends the engine: status 1, and its trace on standard error.
call("exit_group", undefined, words[0] === "--version" ? showVersion() : await runCommand());
