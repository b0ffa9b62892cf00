import { expect, test } from "bun:test";
import { version } from "../../package.json" with { type: "json" };
import { bundle } from "../../scripts/build/bytecode.ts";
import { agentPath } from "../kit/agent.ts";
import { tryCommand } from "../kit/command.ts";

/**
 * What a warm `up` loads: no checksum, no schema of layouts, no help, no status. A new name here costs
 * each boot of each machine: is it needed there?
 */
const boot = [
  "node_modules/arg/index.js",
  "package.json",
  "src/main.ts",
  ...["event", "file", "mount", "page", "process", "program", "signal", "time"].map(
    (name) => `src/linux/calls/${name}-calls.ts`,
  ),
  ...["numbers", "scratch", "signals", "system-call"].map((name) => `src/linux/calls/${name}.ts`),
  ...["checksum", "ioctls", "mounted", "superblock"].map((name) => `src/btrfs/${name}.ts`),
  ...["arguments", "render", "run", "show", "terminal", "volume-command"].map(inCli),
  ...["aligned-buffer", "appearance", "block-device", "bytes", "errno"].map(inLinux),
  ...[
    "file-locks",
    "files",
    "ioctl",
    "kernel",
    "leases",
    "inherited",
    "linux-kernel",
    "loop",
    "mountinfo",
  ].map(inLinux),
  ...[
    "deadline",
    "escapes",
    "links",
    "place",
    "processes",
    "same-file",
    "served-files",
    "struct",
    "text",
  ].map(inLinux),
  ...["blank", "capacity", "cmdline", "context", "device", "disk", "error"].map(inVolume),
  ...[
    "answering",
    "deleted-image",
    "file-formats",
    "host-space",
    "image-locks",
    "image-writers",
    "in-use",
    "loop-disk",
    "mkfs-ranges",
    "openers",
    "planted-links",
    "shell-word",
    "signatures",
    // A disk that does not answer would keep the boot for ever.
    "silent-disk",
  ].map(inVolume),
  // A filesystem that is mounted somewhere else already has to be told of, and so has what was quicker than a failure.
  ...["elsewhere", "holders", "keepers", "overlay", "propagation", "slow-look"].map(inVolume),
  // Small, and in the snapshot; it asks only where something is to be written to what was mounted already.
  ...["frozen"].map(inVolume),
  ...["mount-options", "options-in-force", "rebuilt-primary", "superblocks", "uuid"].map(inVolume),
  ...["filesystem", "foreign", "format", "image", "intent", "layout", "lock"].map(inVolume),
  ...[
    "mount",
    "mount-journal",
    "nocow",
    "old-nocow",
    "options",
    "ours",
    "places",
    "proc-and-sys",
    "raw-place",
    "repair",
  ].map(inVolume),
  ...["report", "root-user", "selector", "settle", "site", "size", "source"].map(inVolume),
  ...["subvolumes", "survey", "targets", "up", "verdict", "write"].map(inVolume),
];

function inCli(name: string): string {
  return `src/cli/${name}.ts`;
}

function inLinux(name: string): string {
  return `src/linux/${name}.ts`;
}

function inVolume(name: string): string {
  return `src/volume/${name}.ts`;
}

/** The modules that are loaded with `entry`, of the parts that the build cuts the program into. */
async function modulesOf(entry: string): Promise<string[]> {
  const { outputs } = await bundle();
  const pathOf = (wanted: string): string =>
    Object.keys(outputs).find((path) => outputs[path]?.entryPoint === wanted) ?? "";
  const modules = new Set<string>();
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const { inputs = {}, imports = [] } = outputs[path] ?? {};
    for (const module of Object.keys(inputs)) modules.add(module);
    for (const { path: next, kind } of imports) if (kind === "import-statement") visit(next);
  };
  visit(pathOf(entry));
  return [...modules].sort();
}

test("--version loads nothing that asks a disk", async () => {
  const loaded = await modulesOf("src/main.ts");
  expect(loaded.filter((module) => module.startsWith("src/volume/"))).toEqual([]);
  expect(loaded.length).toBeLessThan(25);
});

test("--version says it, is no error to a reader that went away, and is one on a full disk", async () => {
  const shell = (line: string) => tryCommand("bash", "-c", `set -o pipefail; ${line}`);
  const line = `'${agentPath}' --version`;
  expect(shell(line)).toMatchObject({ exitCode: 0, stdout: `arcbox-agent ${version}\n` });
  expect(shell(`${line} | true`)).toMatchObject({ exitCode: 0, stderr: "" });
  const full = shell(`${line} > /dev/full`);
  expect(full.exitCode).toBe(1);
  expect(full.stderr).toContain("ENOSPC");
});

test("a warm up loads the modules that are named here and no other", async () => {
  const parts = [await modulesOf("src/main.ts"), await modulesOf("src/cli/run.ts")];
  expect([...new Set(parts.flat())].sort()).toEqual([...boot].sort());
});
