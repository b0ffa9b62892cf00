import { type Action, optionSpecs } from "./arguments.ts";

const summaries: Record<Action, string> = {
  up: "find, format if blank, grow and mount the data volume",
  plan: "say what `up` would do; changes nothing",
  status: "show the state of the data volume",
  down: "unmount the data volume and prove that it is gone",
};

const examples: Record<Action, readonly string[]> = {
  up: [
    "arcbox-agent volume up                                the disk of a container VM",
    "arcbox-agent volume up --device /dev/sdb              a disk of one's own",
    "arcbox-agent volume up --image /srv/data.img --size 64G   a file as the disk",
  ],
  plan: [
    "arcbox-agent volume plan --device /dev/sdb",
    "arcbox-agent volume plan --format any --json",
  ],
  status: [
    "arcbox-agent volume status",
    "arcbox-agent volume status --device label=arcbox-data --json",
  ],
  down: ["arcbox-agent volume down", "arcbox-agent volume down --image /srv/data.img"],
};

const exitStatuses = `Exit status:
  0 done                     5 the filesystem is damaged or does not fit
  1 fault of the program     6 formatting failed
  2 wrong usage              7 mounting failed
  3 no such disk             8 in use
  4 the disk is not ours     9 not permitted or not supported
`;

export const programHelp = `arcbox-agent prepares the Btrfs data volume of a container VM.

Usage: arcbox-agent volume up|plan|status|down [options]
       arcbox-agent --help | --version

Commands:
  volume up      ${summaries.up}
  volume plan    ${summaries.plan}
  volume status  ${summaries.status}
  volume down    ${summaries.down}

Options and examples of each: arcbox-agent volume up --help

${exitStatuses}`;

const width = 80;

/** Breaks a sentence into lines that fit beside the option names. */
function wrapped(text: string, indent: number): string {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && line.length + 1 + word.length > width - indent) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}

export function volumeHelp(action: Action): string {
  const specs = optionSpecs.filter((spec) => spec.actions.includes(action));
  const column = 20;
  const rows = specs.map(({ name, value, help }) => {
    const left = `  ${name}${value === undefined ? "" : ` ${value}`}`;
    return `${left.padEnd(column)}${wrapped(help, column)}`;
  });
  const shown = examples[action].map((example) => `  ${example}`);
  return `Usage: arcbox-agent volume ${action} [options]

${summaries[action][0]?.toUpperCase()}${summaries[action].slice(1)}.

Options:
${rows.join("\n")}

Examples:
${shown.join("\n")}

${exitStatuses}`;
}
