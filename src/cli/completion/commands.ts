import { actions, type OptionSpec, optionSpecs, summaries } from "../arguments.ts";

/** The command line as a tree, from the same table as the parser and the help. */

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

export type Option = Omit<OptionSpec, "actions">;

export interface Command {
  readonly word: string;
  readonly help: string;
  /** Words of which one comes next. */
  readonly next: readonly Command[];
  readonly options: readonly Option[];
}

const help: Option = { name: "--help", help: "show help" };
const version: Option = { name: "--version", help: "show the version" };

/** After one of these nothing else counts. */
export const last: readonly string[] = [help.name, version.name];

const volume: Command = {
  word: "volume",
  help: "prepare, show and take down the data volume",
  next: actions.map((action) => ({
    word: action,
    help: summaries[action],
    next: [],
    options: [...optionSpecs.filter((spec) => spec.actions.includes(action)), help],
  })),
  options: [help],
};

const layout: Command = {
  word: "layout",
  help: "print the subvolumes and mount points in force",
  next: [],
  options: [...optionSpecs.filter(({ name }) => name === "--layout"), help],
};

const completion: Command = {
  word: "completion",
  help: "print a completion script",
  next: shells.map((shell) => ({ word: shell, help: `for ${shell}`, next: [], options: [] })),
  options: [help],
};

export const program: Command = {
  word: "arcbox-agent",
  help: "",
  next: [volume, layout, completion],
  options: [help, version],
};

export interface Place {
  /** The words behind the program's name. */
  readonly path: string;
  readonly command: Command;
}

/** Every command after which something can be completed, the program itself first. */
export function places(command: Command = program, path = ""): readonly Place[] {
  if (command.next.length === 0 && command.options.length === 0) return [];
  return [
    { path, command },
    ...command.next.flatMap((next) => places(next, `${path} ${next.word}`.trim())),
  ];
}

/** Every option with all places that take it. */
export function options(): readonly {
  readonly option: Option;
  readonly paths: readonly string[];
}[] {
  const all = places();
  const distinct = new Set(all.flatMap(({ command }) => command.options));
  return [...distinct].map((option) => ({
    option,
    paths: all.filter(({ command }) => command.options.includes(option)).map(({ path }) => path),
  }));
}

/** Inside single quotes, as each of the shells reads them. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
