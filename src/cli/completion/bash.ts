import { last, type Option, options, places } from "./commands.ts";

const list = (words: readonly string[]): string => `(${words.join(" ")})`;

/** How a value is completed; readline itself is best at files, with their quotes and blanks. */
function value(option: Option): string {
  switch (option.completes) {
    case undefined:
      return "";
    case "file":
      return "compopt -o default";
    case "directory":
      return "compopt -o dirnames";
    case "device":
      return '_arcbox_agent_disks "$word"';
    default:
      return `_arcbox_agent_offer ${option.completes.join(" ")}`;
  }
}

/** A completion script for Bash 4.3 or newer, with or without the package bash-completion. */
export function bash(): string {
  const all = options().map(({ option }) => option);
  const valued = all.filter((option) => option.value !== undefined);
  const next = places().map(({ path, command }) => {
    const names = command.options.map(({ name }) => name);
    return `    "${path}") next=${list(command.next.map(({ word }) => word))} options=${list(names)} ;;`;
  });
  const rivals = all.flatMap(({ name, rivals }) =>
    rivals === undefined ? [] : [`      ${name} | ${name}=*) spent+="${rivals.join(" ")} " ;;`],
  );
  return `# bash completion for arcbox-agent

# Offers those of the words that begin as what is typed, and are not there yet.
_arcbox_agent_offer() {
  local offered
  for offered in "$@"; do
    [[ $offered == "$text"* && $spent != *" $offered "* ]] && COMPREPLY+=("$head$offered")
  done
}

# Offers disks and the folders on the way to them, and what else names a disk.
_arcbox_agent_disks() {
  local path
  case $1 in
    [/.~]*) ;;
    *=*) return ;;
    *)
      _arcbox_agent_offer serial= uuid= label=
      [[ $1 ]] || _arcbox_agent_offer /dev/
      if (( \${#COMPREPLY[@]} )); then
        compopt -o nospace
        return
      fi ;;
  esac
  compopt -o filenames
  while IFS= read -r path; do
    [[ -b \${path/#\\~/$HOME} || -d \${path/#\\~/$HOME} ]] && COMPREPLY+=("$head$path")
  done < <(compgen -f -- "$text")
}

_arcbox_agent() {
  local IFS=" "
  # What is typed of the word as readline sees it, which cuts words at "=" and ":" as a rule.
  local text=$2 head=""
  case $text in
    [=:]*) text="" ;;
    --*=*) head=\${text%%=*}= text=\${text#*=} ;;
  esac
  COMPREPLY=()

  # The words as they will be: what stands together in the line is one.
  local words=() piece rest line=\${COMP_LINE:0:COMP_POINT}
  for piece in "\${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    rest=\${line#"\${line%%[![:space:]]*}"}
    if [[ \${#words[@]} -gt 0 && $rest == "$line" ]]; then
      words[-1]+=$piece
    else
      words+=("$piece")
    fi
    line=\${rest#"$piece"}
  done

  if [[ \${words[-1]} == *[\\<\\>]* || \${words[-2]} == *[\\<\\>] ]]; then
    compopt -o default
    return
  fi

  local command="" expecting="" spent=" " word
  for word in "\${words[@]:1:\${#words[@]}-2}"; do
    if [[ $expecting ]]; then
      expecting=""
      continue
    fi
    case $word in
${rivals.join("\n")}
    esac
    case $word in
      ${last.join(" | ")}) return ;;
      ${valued.map(({ name }) => name).join(" | ")}) spent+="$word " expecting=$word ;;
      -*) spent+="\${word%%=*} " ;;
      *) command+="\${command:+ }$word" ;;
    esac
  done
  word=\${words[-1]}
  if [[ ! $expecting && $word == --*=* ]]; then
    expecting=\${word%%=*} word=\${word#*=}
  fi

  local next=() options=()
  case $command in
${next.join("\n")}
  esac
  if [[ ! $expecting ]]; then
    _arcbox_agent_offer "\${next[@]}"
    (( \${#COMPREPLY[@]} )) || _arcbox_agent_offer "\${options[@]}"
    return
  fi
  [[ " \${options[*]} " == *" $expecting "* ]] || return
  case $expecting in
${valued
  .filter((option) => option.completes !== undefined)
  .map((option) => `    ${option.name}) ${value(option)} ;;`)
  .join("\n")}
  esac
}
complete -F _arcbox_agent arcbox-agent
`;
}
