import { variable } from "../linux/inherited.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "../volume/error.ts";
import { type ErrorReport, errorReport, type Report } from "../volume/report.ts";
import { coloured, errorText, json, type Paint, plain } from "./render.ts";
import { isTerminal, type Stream, tell } from "./terminal.ts";

/** The report of a command that was not understood. */
const emptyReport: Report = {
  outcome: "failed",
  device: null,
  verdict: null,
  uuid: null,
  bytes: null,
  steps: [],
  mounts: [],
  notes: [],
  ms: 0,
};

/** What is wrong with a command line, or with the layout that it names. */
export function showMisunderstanding(kernel: Kernel, reason: VolumeError, asJson: boolean): void {
  const error = errorReport(reason);
  if (asJson) tell(kernel, 1, json({ ...emptyReport, error }));
  else showError(kernel, error);
}

export function showError(kernel: Kernel, error: ErrorReport): void {
  tell(kernel, 2, errorText(error, paintFor(kernel, 2)));
}

/** Colour only for a terminal, and not where NO_COLOR asks for none (no-color.org). */
export function paintFor(kernel: Kernel, stream: Stream): Paint {
  return !variable("NO_COLOR") && isTerminal(kernel, stream) ? coloured : plain;
}

/** A command line that names no command. */
export function unknownCommand(argv: readonly string[]): VolumeError {
  const given = argv.slice(0, 2).join(" ");
  const isHalf = given === "" || given === "volume";
  return new VolumeError("usage", isHalf ? "no command is given" : `unknown command: ${given}`, {
    hint: "arcbox-agent volume up|plan|status|down; see arcbox-agent --help",
  });
}
