import type { Kernel } from "../linux/kernel.ts";
import type { Progress } from "../volume/context.ts";
import { exitStatusOf, unknownHealth } from "../volume/error.ts";
import type { VolumeOptions } from "../volume/options.ts";
import type { Report } from "../volume/report.ts";
import { up } from "../volume/up.ts";
import { type Action, actions, type Command, parseVolume } from "./arguments.ts";
import { json, printable, reportText } from "./render.ts";
import { paintFor, showError, unknownCommand } from "./show.ts";
import { isTerminal, mention, print, tell, terminalColumns } from "./terminal.ts";

type Operation = Exclude<Action, "status">;
type Operate = (kernel: Kernel, options: VolumeOptions, progress: Progress) => Report;

const operations: Record<Operation, () => Promise<Operate>> = {
  up: async () => up,
  plan: async () => (await import("../volume/plan.ts")).plan,
  down: async () => (await import("../volume/down.ts")).down,
};

/** `arcbox-agent volume …`: gives the exit status. */
export async function volumeCommand(kernel: Kernel, argv: readonly string[]): Promise<number> {
  const [word, ...rest] = argv;
  if (word === "--help" || word === "-h") {
    const { programHelp } = await import("./help.ts");
    print(kernel, 1, programHelp);
    return 0;
  }
  const action = actions.find((name) => name === word);
  if (action === undefined) throw unknownCommand(["volume", ...argv]);
  if (rest.includes("--help") || rest.includes("-h")) {
    const { volumeHelp } = await import("./help.ts");
    print(kernel, 1, volumeHelp(action));
    return 0;
  }
  const command = await withLayout(kernel, parseVolume(action, rest));
  return action === "status" ? showStatus(kernel, command) : operate(kernel, action, command);
}

/** Says on a terminal what a person waits for. */
function progressFor(kernel: Kernel, { json: isJson }: Command): Progress {
  const isWatched = !isJson && isTerminal(kernel, 2);
  return (text) => {
    if (isWatched) mention(kernel, 2, `${printable(text)} …\n`);
  };
}

async function operate(kernel: Kernel, action: Operation, command: Command): Promise<number> {
  const run = await operations[action]();
  const report = run(kernel, command.options, progressFor(kernel, command));
  if (command.json) tell(kernel, 1, json(report));
  else {
    tell(kernel, 1, reportText(action, report, paintFor(kernel, 1)));
    if (report.error !== undefined) showError(kernel, report.error);
  }
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

async function showStatus(kernel: Kernel, command: Command): Promise<number> {
  const { status } = await import("../volume/status.ts");
  const { checkStatusOf } = await import("../volume/problems.ts");
  const answer = status(kernel, command.options, progressFor(kernel, command));
  if (command.json) tell(kernel, 1, json(answer));
  else if (answer.error !== undefined) showError(kernel, answer.error);
  else {
    const { statusText } = await import("./status-text.ts");
    const columns = isTerminal(kernel, 1) ? terminalColumns(kernel, 1) : unlimitedColumns;
    tell(kernel, 1, statusText(answer, paintFor(kernel, 1), columns));
  }
  if (answer.error !== undefined) {
    return command.check ? unknownHealth : exitStatusOf[answer.error.code];
  }
  return command.check ? checkStatusOf(answer) : 0;
}
