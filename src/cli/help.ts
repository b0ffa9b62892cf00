import { type Action, optionSpecs, summaries } from "./arguments.ts";

const examples: Record<Action, readonly string[]> = {
  up: [
    "arcbox-agent volume up                                    the disk of a container VM",
    "arcbox-agent volume up --device /dev/sdb                  a disk of your choice",
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

export const programHelp = `arcbox-agent prepares the Btrfs data volume of a container host.

Usage: arcbox-agent volume up|plan|status|down [options]
       arcbox-agent layout [--layout FILE]
       arcbox-agent completion bash|zsh|fish
       arcbox-agent --help | --version

Commands:
  volume up      ${summaries.up}
  volume plan    ${summaries.plan}
  volume status  ${summaries.status}
  volume down    ${summaries.down}
  layout         print the subvolumes and mount points in force, as JSON
  completion     print a completion script for your shell

A first look, which changes nothing: arcbox-agent volume plan --device /dev/sdb
Only root can bring a volume up and take it down.
Each command has options and examples of its own: arcbox-agent volume up --help

${exitStatuses}`;

export const layoutHelp = `Usage: arcbox-agent layout [--layout FILE]

Print the layout in force as JSON: the built-in one, or FILE checked and completed.
Save it, change it, and give it to every volume command with --layout.

Examples:
  arcbox-agent layout > layout.json
  arcbox-agent layout --layout layout.json
  arcbox-agent volume up --layout layout.json
`;

export const completionHelp = `Usage: arcbox-agent completion bash|zsh|fish

Print a completion script for a shell.

To try it in the shell that runs:
  source <(arcbox-agent completion bash)     (zsh likewise)
  arcbox-agent completion fish | source

To keep it for all users, as root; create a folder that is missing with mkdir -p:
  arcbox-agent completion bash > /usr/local/share/bash-completion/completions/arcbox-agent
  arcbox-agent completion zsh > /usr/local/share/zsh/site-functions/_arcbox-agent
  arcbox-agent completion fish > /usr/share/fish/vendor_completions.d/arcbox-agent.fish
`;

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
