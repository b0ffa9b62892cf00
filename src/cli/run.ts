import type { Kernel } from "../linux/kernel.ts";
import { exitStatusOf, unknownHealth, VolumeError } from "../volume/error.ts";
import { print } from "./terminal.ts";
import { volumeCommand } from "./volume-command.ts";

/**
 * Runs the command line and gives the exit status. What every boot runs is imported with this file;
 * the code of other commands is loaded when they run.
 */
export async function run(kernel: Kernel, argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(kernel, argv);
  } catch (error) {
    if (!(error instanceof VolumeError)) throw error;
    const { showMisunderstanding } = await import("./show.ts");
    showMisunderstanding(kernel, error, argv.includes("--json"));
    return isHealthCheck(argv) ? unknownHealth : exitStatusOf[error.code];
  }
}

/** A monitoring program would take the exit status of wrong usage, 2, for "critical". */
const isHealthCheck = ([room, action, ...rest]: readonly string[]): boolean =>
  room === "volume" && action === "status" && rest.includes("--check");

async function dispatch(kernel: Kernel, argv: readonly string[]): Promise<number> {
  const [room, ...rest] = argv;
  switch (room ?? "") {
    case "volume":
      return volumeCommand(kernel, rest);
    case "layout": {
      const { layoutCommand } = await import("./layout-command.ts");
      return layoutCommand(kernel, rest);
    }
    case "completion": {
      const { completionCommand } = await import("./completion-command.ts");
      return completionCommand(kernel, rest);
    }
    // Not for people: this program starts itself so.
    case "look": {
      const { tellSlowLook } = await import("../volume/slow-look.ts");
      tellSlowLook(kernel, rest, (line) => print(kernel, 1, line));
      return 0;
    }
    case "--help":
    case "-h":
    case "help": {
      const { programHelp } = await import("./help.ts");
      print(kernel, 1, programHelp);
      return 0;
    }
    default: {
      const { unknownCommand } = await import("./show.ts");
      throw unknownCommand(argv);
    }
  }
}
