import { type Command, last, type Option, program, quoted } from "./commands.ts";

/** Brackets and colons mean something to _arguments. */
const escaped = (text: string): string => text.replace(/[[\]:\\]/g, "\\$&");

function value(option: Option): string {
  switch (option.completes) {
    case undefined:
      return " ";
    case "file":
      return "_files";
    case "directory":
      return "_path_files -/";
    case "device":
      return "_arcbox-agent_disks";
    default:
      return `(${option.completes.join(" ")})`;
  }
}

/** An option as _arguments takes it: what it excludes, its name, its help, its value. */
function specification(option: Option): string {
  const { name, rivals = [], help } = option;
  const excluded = last.includes(name) ? ["-", ":", "*"] : rivals;
  const exclusion = excluded.length === 0 ? "" : `(${excluded.join(" ")})`;
  const takes = option.value === undefined ? "" : `:${option.value.toLowerCase()}:${value(option)}`;
  const equals = option.value === undefined ? "" : "=";
  return quoted(`${exclusion}${name}${equals}[${escaped(help)}]${takes}`);
}

/** A function for a command, and those for the commands below it. */
function functions(command: Command, name: string): readonly string[] {
  const own = command.options.map((option) => ` \\\n    ${specification(option)}`).join("");
  if (command.next.length === 0) return [`${name}() {\n  _arguments${own}\n}`];
  const words = command.next.map(({ word, help }) => `    ${quoted(`${word}:${help}`)}`);
  const below = command.next.filter(({ next, options }) => next.length + options.length > 0);
  const cases = below.map(({ word }) => `    ${word}) ${name}_${word} ;;`);
  return [
    `${name}() {
  local -a following=(
${words.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _arguments${own} \\
    ': :{_describe word following}'
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.map((line) => `${line}\n`).join("")}  esac
}`,
    ...below.flatMap((next) => functions(next, `${name}_${next.word}`)),
  ];
}

/** A completion script for zsh: to be put into a folder of $fpath, or to be read by `source`. */
export function zsh(): string {
  return `#compdef arcbox-agent

# Disks and the folders on the way to them, and what else names a disk.
_arcbox-agent_disks() {
  local ret=1 expl
  _wanted identities expl 'what a disk is known by' compadd -S '' serial= uuid= label= && ret=0
  if [[ -z $PREFIX ]]; then
    _wanted disks expl disk compadd -S '' /dev/ && ret=0
  else
    _wanted disks expl disk _path_files -g '*(-%b)' -/ && ret=0
  fi
  return ret
}

${functions(program, "_arcbox-agent").join("\n\n")}

if [[ $funcstack[1] == _arcbox-agent ]]; then
  _arcbox-agent "$@"
else
  compdef _arcbox-agent arcbox-agent
fi
`;
}
