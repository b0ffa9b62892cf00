import { type Action, actions, type OptionSpec, optionSpecs, summaries } from "./arguments.ts";

/** Completion scripts, from the same table as the parser and the help. */

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

const rooms: readonly (readonly [word: string, help: string])[] = [
  ["volume", "prepare, show and take down the data volume"],
  ["layout", "print the subvolumes and mount points in force"],
  ["completion", "print a completion script"],
];
const globalOptions = ["--help", "--version"];

const optionsOf = (action: Action): readonly OptionSpec[] =>
  optionSpecs.filter((spec) => spec.actions.includes(action));

const isDefined = (spec: OptionSpec): boolean => spec.value !== undefined;

function bashValue({ name, completes }: OptionSpec): string {
  const reply = (words: string): string => `mapfile -t COMPREPLY < <(${words})`;
  if (completes === "directory") return `    ${name}) ${reply('compgen -d -- "$cur"')}; return ;;`;
  if (completes === "file") return `    ${name}) ${reply('compgen -f -- "$cur"')}; return ;;`;
  if (completes === "device") {
    return `    ${name}) ${reply(`compgen -W "serial= uuid= label=" -f -- "\${cur:-/dev/}"`)}; return ;;`;
  }
  const words = completes?.join(" ") ?? "";
  return `    ${name}) ${reply(`compgen -W "${words}" -- "$cur"`)}; return ;;`;
}

function bash(): string {
  const cases = actions.map((action) => {
    const words = [...optionsOf(action).map(({ name }) => name), "--help"].join(" ");
    return `    "volume ${action}") words="${words}" ;;`;
  });
  return `# bash completion for arcbox-agent
_arcbox_agent() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=""
  COMPREPLY=()
  compopt -o filenames 2>/dev/null
  case $prev in
${optionSpecs.filter(isDefined).map(bashValue).join("\n")}
  esac
  case $COMP_CWORD in
    1) words="${[...rooms.map(([word]) => word), ...globalOptions].join(" ")}" ;;
    2)
      case \${COMP_WORDS[1]} in
        volume) words="${actions.join(" ")} --help" ;;
        layout) words="--layout --help" ;;
        completion) words="${shells.join(" ")} --help" ;;
      esac ;;
    *)
      case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${cases.map((line) => `    ${line}`).join("\n")}
      esac ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _arcbox_agent arcbox-agent
`;
}

/** Inside single quotes of zsh or fish; colons and brackets mean something to zsh's _arguments. */
const quoted = (text: string): string => text.replaceAll("'", "'\\''");
const zshHelp = (text: string): string => quoted(text.replace(/[[\]:]/g, "\\$&"));

function zshOption({ name, value, help, completes }: OptionSpec): string {
  const what = value === undefined ? "" : `:${value.toLowerCase()}:${zshAction(completes)}`;
  return `'${name}[${zshHelp(help)}]${what}'`;
}

function zshAction(completes: OptionSpec["completes"]): string {
  if (completes === undefined) return " ";
  if (completes === "directory") return "_files -/";
  if (completes === "file" || completes === "device") return "_files";
  return `(${completes.join(" ")})`;
}

function zsh(): string {
  const described = (pairs: readonly (readonly [string, string])[]): string =>
    pairs.map(([word, help]) => `'${word}:${zshHelp(help)}'`).join(" ");
  const cases = actions.map((action) => {
    const options = [...optionsOf(action).map(zshOption), "'--help[show help]'"];
    return `        ${action}) _arguments ${options.join(" ")} ;;`;
  });
  return `#compdef arcbox-agent
_arcbox_agent() {
  local -a words_here
  if (( CURRENT == 2 )); then
    words_here=(${described(rooms)} ${globalOptions.map((option) => `'${option}'`).join(" ")})
    _describe command words_here
    return
  fi
  case $words[2] in
    volume)
      if (( CURRENT == 3 )); then
        words_here=(${described(actions.map((action) => [action, summaries[action]]))})
        _describe command words_here
        return
      fi
      shift words; (( CURRENT-- ))
      case $words[2] in
${cases.join("\n")}
      esac ;;
    layout) _arguments '--layout[the layout file]:file:_files' '--help[show help]' ;;
    completion) words_here=(${shells.join(" ")}); _describe shell words_here ;;
  esac
}
if [ "$funcstack[1]" = "_arcbox_agent" ] || [ "$funcstack[1]" = "_arcbox-agent" ]; then
  _arcbox_agent "$@"
else
  compdef _arcbox_agent arcbox-agent
fi
`;
}

function fishOption({ name, value, help, completes, actions: within }: OptionSpec): string {
  const seen = `__fish_seen_subcommand_from ${within.join(" ")}`;
  const takes = value === undefined ? "" : fishValue(completes);
  return `complete -c arcbox-agent -n '${seen}' -l ${name.slice(2)}${takes} -d '${quoted(help)}'`;
}

function fishValue(completes: OptionSpec["completes"]): string {
  if (completes === undefined) return " -x";
  if (completes === "directory") return " -x -a '(__fish_complete_directories)'";
  if (completes === "file" || completes === "device") return " -r -F";
  return ` -x -a '${completes.join(" ")}'`;
}

function fish(): string {
  const words = rooms.map(
    ([word, help]) =>
      `complete -c arcbox-agent -n __fish_use_subcommand -a ${word} -d '${quoted(help)}'`,
  );
  const under = actions.map(
    (action) =>
      `complete -c arcbox-agent -n '__fish_seen_subcommand_from volume; and not __fish_seen_subcommand_from ${actions.join(" ")}' -a ${action} -d '${quoted(summaries[action])}'`,
  );
  return `# fish completion for arcbox-agent
complete -c arcbox-agent -f
${words.join("\n")}
complete -c arcbox-agent -n __fish_use_subcommand -l version -d 'show the version'
complete -c arcbox-agent -l help -d 'show help'
${under.join("\n")}
${optionSpecs.map(fishOption).join("\n")}
complete -c arcbox-agent -n '__fish_seen_subcommand_from layout' -l layout -r -F
complete -c arcbox-agent -n '__fish_seen_subcommand_from completion' -a '${shells.join(" ")}'
`;
}

export const completionScripts: Record<Shell, () => string> = { bash, zsh, fish };
