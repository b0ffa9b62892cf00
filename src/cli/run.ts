import { version } from "../../package.json" with { type: "json" };
import type { Kernel } from "../linux/kernel.ts";
import { down } from "../volume/down.ts";
import { exitStatusOf, VolumeError } from "../volume/error.ts";
import { plan } from "../volume/plan.ts";
import type { ErrorReport, Report } from "../volume/report.ts";
import { status } from "../volume/status.ts";
import { up } from "../volume/up.ts";
import { type Action, actions, type Command, parseVolume } from "./arguments.ts";
import { programHelp, volumeHelp } from "./help.ts";
import { coloured, errorText, json, type Paint, plain, printable, reportText } from "./render.ts";
import { statusText } from "./status-text.ts";
import { isTerminal, print, type Stream, terminalColumns } from "./terminal.ts";

const operations = { up, plan, down };
type Operation = keyof typeof operations;

/** Runs the command line and gives the exit status. */
export function run(kernel: Kernel, argv: readonly string[]): number {
  try {
    return dispatch(kernel, argv);
  } catch (error) {
    if (!(error instanceof VolumeError)) throw error;
    const { code, message, hint } = error;
    const report = { code, message, ...(hint === undefined ? {} : { hint }) };
    if (argv.includes("--json")) print(kernel, 1, json({ outcome: "failed", error: report }));
    else tell(kernel, report);
    return exitStatusOf[code];
  }
}

function dispatch(kernel: Kernel, argv: readonly string[]): number {
  const [room, action, ...rest] = argv;
  const show = (text: string): number => {
    print(kernel, 1, text);
    return 0;
  };
  if (room === "--version") return show(`arcbox-agent ${version}\n`);
  if (room === "--help" || room === "-h" || room === "help") return show(programHelp);
  if (room === "volume" && (action === "--help" || action === "-h")) return show(programHelp);

  const known = room === "volume" ? actionOf(action) : undefined;
  if (known === undefined) {
    const given = argv.slice(0, 2).join(" ");
    throw new VolumeError("usage", given === "" ? "no command" : `unknown command: ${given}`, {
      hint: "arcbox-agent volume up|plan|down; see arcbox-agent --help",
    });
  }
  if (rest.includes("--help") || rest.includes("-h")) return show(volumeHelp(known));
  return operate(kernel, known, rest);
}

const actionOf = (word: string | undefined): Action | undefined =>
  actions.find((action) => action === word);

function operate(kernel: Kernel, action: Action, argv: readonly string[]): number {
  const command = parseVolume(action, argv);
  if (action === "status") return showStatus(kernel, command);
  const isWatched = !command.json && isTerminal(kernel, 2);
  const progress = (text: string): void => {
    if (isWatched) print(kernel, 2, `${printable(text)} …\n`);
  };
  const report = operations[action](kernel, command.options, progress);
  render(kernel, action, report, command.json);
  return report.error === undefined ? 0 : exitStatusOf[report.error.code];
}

function showStatus(kernel: Kernel, command: Command): number {
  const answer = status(kernel, command.options);
  if (command.json) print(kernel, 1, json(answer));
  else if (answer.error !== undefined) tell(kernel, answer.error);
  else {
    print(kernel, 1, statusText(answer, paintFor(kernel, 1), terminalColumns(kernel, 1)));
  }
  return answer.error === undefined ? 0 : exitStatusOf[answer.error.code];
}

function render(kernel: Kernel, action: Operation, report: Report, asJson: boolean): void {
  if (asJson) {
    print(kernel, 1, json(report));
    return;
  }
  print(kernel, 1, reportText(action, report, paintFor(kernel, 1)));
  if (report.error !== undefined) tell(kernel, report.error);
}

function tell(kernel: Kernel, error: ErrorReport): void {
  print(kernel, 2, errorText(error, paintFor(kernel, 2)));
}

/** Colour only for a terminal, and not where NO_COLOR asks for none (no-color.org). */
function paintFor(kernel: Kernel, stream: Stream): Paint {
  return !process.env.NO_COLOR && isTerminal(kernel, stream) ? coloured : plain;
}
