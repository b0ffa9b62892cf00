import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "../volume/error.ts";
import { completionScripts, shells } from "./completion/index.ts";
import { completionHelp } from "./help.ts";
import { print } from "./terminal.ts";

/** `arcbox-agent completion SHELL` */
export function completionCommand(kernel: Kernel, [word]: readonly string[]): number {
  if (word === "--help" || word === "-h") {
    print(kernel, 1, completionHelp);
    return 0;
  }
  const shell = shells.find((name) => name === word);
  if (shell === undefined) {
    const what =
      word === undefined ? "no shell is given" : `no completion for ${JSON.stringify(word)}`;
    throw new VolumeError("usage", what, {
      hint: `use one of: ${shells.join(", ")}`,
    });
  }
  print(kernel, 1, completionScripts[shell]());
  return 0;
}
