import { last, type Option, options, places, quoted } from "./commands.ts";

function value(option: Option): string {
  if (option.value === undefined) return "";
  switch (option.completes) {
    case undefined:
      return " -x";
    case "file":
      return " -r -F";
    case "directory":
      return " -x -a '(__arcbox_agent_directories)'";
    case "device":
      return " -x -a '(__arcbox_agent_disks)'";
    default:
      return ` -x -a '${option.completes.join(" ")}'`;
  }
}

/** A completion script for fish. */
export function fish(): string {
  const words = places().flatMap(({ path, command }) =>
    command.next.map(
      ({ word, help }) =>
        `complete -c arcbox-agent -n "__arcbox_agent_is '${path}'" -a ${word} -d ${quoted(help)}`,
    ),
  );
  const switches = options().map(({ option, paths }) => {
    const { name, help, rivals = [] } = option;
    const takes = option.value === undefined ? name : `${name}=`;
    const condition = `__arcbox_agent_takes '${paths.join(",")}' ${[takes, ...rivals].join(" ")}`;
    return `complete -c arcbox-agent -n "${condition}" -l ${name.slice(2)}${value(option)} -d ${quoted(help)}`;
  });
  return `# fish completion for arcbox-agent

# Whether exactly these words stand behind the program's name.
function __arcbox_agent_is
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

# Whether one of the commands is typed, and neither the option nor one that excludes it:
# \`COMMAND,... --OPTION[=] --OTHER...\`.
function __arcbox_agent_takes --argument-names commands option
    set -l words (commandline -opc)
    set -l command
    for word in $words[2..]
        string match -q -- '-*' $word; and break
        set -a command $word
    end
    contains -- "$command" (string split -- , $commands); or return
    # While its value is typed the option is there, and takes it.
    test "$words[-1]=" = $option; and set -e words[-1]
    set -l excluded (string trim -r -c = -- $option) $argv[3..] ${last.join(" ")}
    for word in $words
        contains -- (string replace -r -- '=.*' '' $word) $excluded; and return 1
    end
    return 0
end

# What is typed of a value, also of one behind "=".
function __arcbox_agent_typed
    string replace -r -- '^--[a-z]+=' '' (commandline -ct)
end

function __arcbox_agent_directories
    __fish_complete_directories (__arcbox_agent_typed)
end

# Disks and the folders on the way to them, and what else names a disk.
function __arcbox_agent_disks
    set -l typed (string unescape -- (__arcbox_agent_typed))
    string match -q -r -- '^[a-z]+=' $typed; and return
    printf '%s\\tknown by\\n' serial= uuid= label=
    test -n "$typed"; or set typed /dev/
    for path in $typed*
        if test -d $path
            printf '%s/\\tfolder\\n' $path
        else if test -b $path
            printf '%s\\tdisk\\n' $path
        end
    end
end

complete -c arcbox-agent -f
${[...words, ...switches].join("\n")}
`;
}
