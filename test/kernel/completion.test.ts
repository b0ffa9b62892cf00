import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { agent, agentPath } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { unpackedFile } from "../kit/debian.ts";
import { Sandbox } from "../kit/sandbox.ts";
import { Shell, type ShellName, shellNames } from "../kit/shell.ts";

const back = "\x02";

/** Keys behind `arcbox-agent`, and the words that it gets at Enter; a plus sign stands for a blank. */
const completed: readonly (readonly [keys: string, words: string])[] = [
  ["vol\t", "volume"],
  ["--vers\t", "--version"],
  ["volume st\t", "volume status"],
  ["volume --he\t", "volume --help"],
  ["completion f\t", "completion fish"],
  ["completion bash z\t", "completion bash z"],

  ["volume up --form\tan\t", "volume up --format any"],
  ["volume up --format=ne\t", "volume up --format never"],
  ["volume plan --wait 5 --rep\tau\t", "volume plan --wait 5 --repair auto"],
  ["volume up --json --cov\t", "volume up --json --cover"],
  ["volume down --form\t", "volume down --form"],
  [
    `volume up --format a --json${back.repeat(" --json".length)}\t`,
    "volume up --format any --json",
  ],

  ["volume up --image My\tdis\t", "volume up --image My+Dir/disk+one.img"],
  ["volume up --image=My\tdis\t", "volume up --image My+Dir/disk+one.img"],
  ['volume up --image "My\tdis\t', "volume up --image My+Dir/disk+one.img"],
  ["volume up --layout wi\t", "volume up --layout with=equals"],
  ["layout --lay\tlay\t", "layout --layout layout.json"],
  ["layout --layout=co\t", "layout --layout co:lon"],
  ["layout <lay\t", "layout"],
  ["layout --json < My\tdis\t", "layout --json"],
  // What is typed behind the slash of a folder is in it.
  ["volume up --root My\tsu\tX", "volume up --root My+Dir/sub/X"],
  ["volume up --root=My\tX", "volume up --root My+Dir/X"],
  ["volume up --root lay\tX", "volume up --root layX"],

  ["volume up --device lab\tX", "volume up --device label=X"],
  ["volume up --device=ser\tX", "volume up --device serial=X"],
  // There is a file layout.json, and it is no label.
  ["volume up --device label=lay\t", "volume up --device label=lay"],
  ["volume up --device=uuid=lay\t", "volume up --device uuid=lay"],
  ["volume up --device /de\tX", "volume up --device /dev/X"],
  ["volume up --device disks/pc\t", "volume up --device disks/pci-0000:00:04.0"],
  ["volume up --device=disks/my\t", "volume up --device disks/my+disk"],
  ["volume up --device disks/my\\ d\t", "volume up --device disks/my+disk"],
  ['volume up --device "disks/my d\t', "volume up --device disks/my+disk"],
  ["volume up --device ./disks/ba\t", "volume up --device ./disks/back\\x20slash"],
  ["volume up --device disks/t\tX", "volume up --device disks/tX"],
];

/** The same for whole lines. */
const lines: typeof completed = [
  ["true; LC_ALL=C arcbox-agent vol\t", "volume"],
  ["~/bin/arcbox-agent volume st\t", "volume status"],
  ["sudo arcbox-agent volume st\t", "volume status"],
  ["sudo arcbox-agent volume up --format=an\t", "volume up --format any"],
  ["sudo arcbox-agent volume up --device=lab\tX", "volume up --device label=X"],
  ["sudo arcbox-agent volume up --image My\tdis\t", "volume up --image My+Dir/disk+one.img"],
];

const common = "--device --image --size --root --layout --wait --json --help";
const everything = `${common} --format --repair --cover`;
const files = "$x co:lon disks layout.json My+Dir with=equals";

/** A line behind `arcbox-agent`, and all that may come next. */
const offered: typeof completed = [
  ["", "volume layout completion"],
  ["-", "--help --version"],
  ["--version ", ""],
  ["volume ", "up plan status down"],
  ["volume --", "--help"],
  ["volume --help ", ""],
  ["volume frob -", ""],
  ["volume up --", everything],
  ["volume plan -", everything],
  ["volume status -", `${common} --check`],
  ["volume down --", `${common} --discard-deleted`],
  ["volume down --help -", ""],
  ["volume down frob -", ""],
  [
    "volume down --json --wait=3 -",
    "--device --image --size --root --layout --discard-deleted --help",
  ],
  ["volume down --device x -", "--root --layout --wait --discard-deleted --json --help"],
  ["volume down --image=x -", "--size --root --layout --wait --discard-deleted --json --help"],
  ["volume down --size 1G -", "--image --root --layout --wait --discard-deleted --json --help"],
  ["volume up --format ", "blank any never"],
  ["volume up --json --repair ", "auto always never"],
  ["volume up --wait ", ""],
  ["volume up --image ", files],
  ["volume up --root ", "disks My+Dir"],
  [
    "volume up --device disks/",
    "disks/folder disks/my+disk disks/pci-0000:00:04.0 disks/back\\x20slash",
  ],
  ["volume up --device label=", ""],
  ["layout -", "--layout --help"],
  ["layout --layout x -", "--help"],
  ["layout --layout ", files],
  ["completion ", "bash zsh fish"],
  ["completion -", "--help"],
  ["completion bash ", ""],
  ["completion bash -", ""],
];

/** The line that `completion --help` gives for a shell, and where it puts the script. */
async function installation(name: ShellName): Promise<{ line: string; path: string }> {
  const { stdout } = await agent(["completion", "--help"]);
  const pattern = new RegExp(`^ {2}(arcbox-agent completion ${name} > (\\S+))$`, "m");
  const [, line, path] = pattern.exec(stdout) ?? [];
  if (line === undefined || path === undefined) throw new Error(`the help is silent on ${name}`);
  return { line, path };
}

/** Does what the help says, with a folder of the sandbox in the place that it names. */
async function installAsTold(box: Sandbox, name: ShellName): Promise<void> {
  const { line, path } = await installation(name);
  let place = dirname(path);
  // What is not there yet is made in the sandbox's folder, not on this machine.
  while (!existsSync(place)) place = dirname(place);
  box.cover(box.folder("installed"), place);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(agentPath, `${box.folder("real")}/arcbox-agent`);
  command("env", `PATH=${box.path("real")}:${process.env.PATH}`, "sh", "-ec", line);
}

/** Files, folders and disks, with names that shells treat in their own ways. */
function workplace(box: Sandbox): string {
  const folder = box.folder("work");
  mkdirSync(`${folder}/My Dir/sub`, { recursive: true });
  mkdirSync(`${folder}/disks/folder`, { recursive: true });
  for (const file of ["My Dir/disk one.img", "layout.json", "with=equals", "co:lon", "$x"]) {
    writeFileSync(`${folder}/${file}`, "");
  }
  writeFileSync(`${folder}/disks/file`, "");
  // No driver has this number: nobody can open them.
  for (const disk of ["pci-0000:00:04.0", "my disk", "back\\x20slash"]) {
    command("mknod", `${folder}/disks/${disk}`, "b", "4000", "0");
  }
  command("mknod", `${folder}/disks/tty`, "c", "4000", "0");
  return folder;
}

const list = (words: string): readonly string[] =>
  words.split(" ").flatMap((word) => (word === "" ? [] : [word.replaceAll("+", " ")]));

/** `--option=value` means the same as `--option value`: zsh completes to the one, others to the other. */
const parted = (words: readonly string[]): readonly string[] =>
  words.flatMap((word) => /^(--[a-z]+)=(.*)$/.exec(word)?.slice(1) ?? [word]);

/** Some shells show that a folder is one. */
const withoutSlash = (word: string): string => word.replace(/\/$/, "");

/** One shell for all tests of a group, in the workplace. */
function useShell(
  name: ShellName,
  prepare: (box: Sandbox) => Promise<{ readonly profile?: string }>,
): () => Shell {
  let box: Sandbox;
  let shell: Shell;
  beforeAll(async () => {
    box = new Sandbox();
    const home = box.folder("home");
    shell = await Shell.start(name, { home, cwd: workplace(box), ...(await prepare(box)) });
  });
  afterAll(() => {
    shell?.close();
    box.close();
  });
  return () => shell;
}

describe.each(shellNames)("%s, installed as the help says,", (name) => {
  const shell = useShell(name, async (box) => {
    await installAsTold(box, name);
    const loader = `source ${unpackedFile("usr/share/bash-completion/bash_completion")}`;
    return name === "bash" ? { profile: loader } : {};
  });

  test.each(completed)("completes arcbox-agent %j", async (keys, words) => {
    expect(parted(await shell().words(`arcbox-agent ${keys}`))).toEqual(list(words));
  });

  test.each(lines)("completes %j", async (keys, words) => {
    expect(parted(await shell().words(keys))).toEqual(list(words));
  });

  test.each(offered)("offers behind arcbox-agent %j: %s", async (line, words) => {
    const all = await shell().offered(`arcbox-agent ${line}`);
    expect(all.map(withoutSlash).sort()).toEqual([...list(words)].sort());
  });

  test("offers what may follow an equals sign, also behind sudo", async () => {
    const words = await shell().offered("sudo arcbox-agent volume up --format=");
    const values = words.map((word) => word.replace("--format=", ""));
    expect(values.sort()).toEqual(["any", "blank", "never"]);
  });

  test("offers the disks of /dev, and what else names a disk", async () => {
    const words = await shell().offered("arcbox-agent volume up --device ");
    expect(words).toEqual(expect.arrayContaining(["label=", "serial=", "uuid="]));
    expect(words.some((word) => word.startsWith("/dev/"))).toBe(true);
    expect(words).not.toContain("/dev/null");
  });
});

/** How each shell reads a script that is written to it. */
const reading: Record<ShellName, (script: string) => string> = {
  bash: (script) => `source <(${script})`,
  zsh: (script) => `source <(${script})`,
  fish: (script) => `${script} | source`,
};

describe.each(shellNames)("%s, without anything installed,", (name) => {
  const shell = useShell(name, async () => ({}));

  test("completes once it has read the script", async () => {
    expect(await shell().words("arcbox-agent vol\t")).toEqual(["vol"]);
    await shell().type(reading[name](`${agentPath} completion ${name}`));
    for (const [keys, words] of [
      ["vol\t", "volume"],
      ["volume up --form\tan\t", "volume up --format any"],
      ["volume up --device lab\tX", "volume up --device label=X"],
      ["volume up --root My\tX", "volume up --root My+Dir/X"],
    ] as const) {
      expect(parted(await shell().words(`arcbox-agent ${keys}`))).toEqual(list(words));
    }
  });
});

// As the completion of npm has it, once it is loaded.
describe('bash that does not cut words at "="', () => {
  const shell = useShell("bash", async () => ({
    profile: `COMP_WORDBREAKS=\${COMP_WORDBREAKS//=}`,
  }));

  test.each([
    ["volume up --format=an\t", "volume up --format any"],
    ["volume up --device=lab\tX", "volume up --device label=X"],
    ["volume up --device label=lay\t", "volume up --device label=lay"],
    ["volume up --device=disks/my\t", "volume up --device disks/my+disk"],
  ])("completes arcbox-agent %j", async (keys, words) => {
    await shell().type(reading.bash(`${agentPath} completion bash`));
    expect(parted(await shell().words(`arcbox-agent ${keys}`))).toEqual(list(words));
  });
});
