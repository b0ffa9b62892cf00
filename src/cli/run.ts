import { version } from "../../package.json" with { type: "json" };
import type { Kernel } from "../linux/kernel.ts";
import { down } from "../volume/down.ts";
import { exitStatusOf, VolumeError } from "../volume/error.ts";
import { defaultLayout } from "../volume/layout.ts";
import { plan } from "../volume/plan.ts";
import type { ErrorReport, Report } from "../volume/report.ts";
import { status } from "../volume/status.ts";
import { up } from "../volume/up.ts";
import {
  type Action,
  actions,
  type Command,
  parseLayoutCommand,
  parseVolume,
} from "./arguments.ts";
import { completionHelp, layoutHelp, programHelp, volumeHelp } from "./help.ts";
import { coloured, errorText, json, type Paint, plain, printable, reportText } from "./render.ts";
import { statusText } from "./status-text.ts";
import { isTerminal, print, type Stream, terminalColumns } from "./terminal.ts";

const operations = { up, plan, down };
type Operation = keyof typeof operations;

/** Of a command that was not understood. */
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

/** Runs the command line and gives the exit status. */
export async function run(kernel: Kernel, argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(kernel, argv);
  } catch (error) {
    if (!(error instanceof VolumeError)) throw error;
    const { code, message, hint } = error;
    const report = { code, message, ...(hint === undefined ? {} : { hint }) };
    if (argv.includes("--json")) print(kernel, 1, json({ ...emptyReport, error: report }));
    else tell(kernel, report);
    return exitStatusOf[code];
  }
}

async function dispatch(kernel: Kernel, argv: readonly string[]): Promise<number> {
  const [room, action, ...rest] = argv;
  const show = (text: string): number => {
    print(kernel, 1, text);
    return 0;
  };
  if (room === "--version") return show(`arcbox-agent ${version}\n`);
  if (room === "--help" || room === "-h" || room === "help") return show(programHelp);
  if (room === "volume" && (action === "--help" || action === "-h")) return show(programHelp);

  if (room === "completion") return show(await completion(action));
  if (room === "layout") return showLayout(kernel, argv.slice(1));
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

async function operate(kernel: Kernel, action: Action, argv: readonly string[]): Promise<number> {
  const command = await withLayout(kernel, parseVolume(action, argv));
  if (action === "status") return showStatus(kernel, command);
  const isWatched = !command.json && isTerminal(kernel, 2);
  const progress = (text: string): void => {
    if (isWatched) print(kernel, 2, `${printable(text)} …\n`);
  };
  const report = operations[action](kernel, command.options, progress);
  render(kernel, action, report, command.json);
  return report.error === undefined ? 0 : exitStatusOf[report.error.code];
}

/** The code that checks a layout is loaded only where there is one. */
async function withLayout(kernel: Kernel, command: Command): Promise<Command> {
  if (command.layoutPath === undefined) return command;
  const { readLayout } = await import("../volume/layout-file.ts");
  const layout = readLayout(kernel, command.layoutPath);
  return { ...command, options: { ...command.options, layout } };
}

/** For a file or a pipe nothing is broken into lines. */
const unlimitedColumns = 10_000;

function showStatus(kernel: Kernel, command: Command): number {
  const answer = status(kernel, command.options);
  if (command.json) print(kernel, 1, json(answer));
  else if (answer.error !== undefined) tell(kernel, answer.error);
  else {
    const columns = isTerminal(kernel, 1) ? terminalColumns(kernel, 1) : unlimitedColumns;
    print(kernel, 1, statusText(answer, paintFor(kernel, 1), columns));
  }
  return answer.error === undefined ? 0 : exitStatusOf[answer.error.code];
}

/** Prints the layout in force as the file that would give it. */
async function showLayout(kernel: Kernel, argv: readonly string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    print(kernel, 1, layoutHelp);
    return 0;
  }
  const path = parseLayoutCommand(argv);
  const { layoutFileOf, readLayout } = await import("../volume/layout-file.ts");
  const layout = path === undefined ? defaultLayout : readLayout(kernel, path);
  print(kernel, 1, json(layoutFileOf(layout)));
  return 0;
}

async function completion(word: string | undefined): Promise<string> {
  if (word === "--help" || word === "-h") return completionHelp;
  const { completionScripts, shells } = await import("./completion.ts");
  const shell = shells.find((name) => name === word);
  if (shell !== undefined) return completionScripts[shell]();
  throw new VolumeError("usage", `no completion for ${JSON.stringify(word ?? "")}`, {
    hint: `use one of: ${shells.join(", ")}`,
  });
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
