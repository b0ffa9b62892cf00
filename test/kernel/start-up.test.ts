import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json" with { type: "json" };
import { agentPath } from "../kit/agent.ts";
import { tryCommand } from "../kit/command.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();
const project = join(import.meta.dir, "..", "..");

/** What every command but --version loads. A new name here costs each boot of each machine: is it needed there? */
const always = [
  "package.json",
  "src/cli/run.ts",
  "src/cli/terminal.ts",
  ...["blkid", "errno", "kernel", "libc", "libc-kernel", "struct", "text"].map(inLinux),
  "src/main.ts",
  "src/volume/error.ts",
];

/** What a warm `up` loads beside that: no checksum, no schema of layouts, no help, no status. */
const warm = [
  "node_modules/arg/index.js",
  ...["checksum", "ioctls", "mounted", "superblock"].map((name) => `src/btrfs/${name}.ts`),
  ...["arguments", "render", "show", "volume-command"].map((name) => `src/cli/${name}.ts`),
  ...["aligned-buffer", "appearance", "block-device", "files", "ioctl", "loop"].map(inLinux),
  ...["mountinfo", "place", "zeros"].map(inLinux),
  ...["blank", "capacity", "cmdline", "context", "device", "disk", "filesystem"].map(inVolume),
  ...["foreign", "format", "image", "intent", "layout", "lock", "mount", "nocow"].map(inVolume),
  "src/volume/mount-journal.ts",
  ...["options", "ours", "places", "repair", "report", "root-user", "selector", "settle"].map(
    inVolume,
  ),
  ...["size", "source", "subvolumes", "survey", "targets", "up", "verdict", "write"].map(inVolume),
];

function inLinux(name: string): string {
  return `src/linux/${name}.ts`;
}

function inVolume(name: string): string {
  return `src/volume/${name}.ts`;
}

/** The modules of the project and of packages that this command line loads when run from source. */
async function modulesOf(box: Sandbox, ...args: readonly string[]): Promise<string[]> {
  const log = box.path("modules");
  const preload = "test/kit/loaded-modules.ts";
  const run = Bun.spawn([process.execPath, "--preload", `./${preload}`, "src/main.ts", ...args], {
    cwd: project,
    env: { ...process.env, MODULE_LOG: log },
    stdout: "ignore",
    stderr: "inherit",
  });
  expect(await run.exited).toBe(0);
  const paths = readFileSync(log, "utf8").split("\n");
  return paths.map((path) => path.replace(`${project}/`, "")).filter((path) => path !== preload);
}

test("--version loads the way in and nothing else", async () => {
  expect((await modulesOf(sandbox(), "--version")).sort()).toEqual(["package.json", "src/main.ts"]);
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
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const loaded = await modulesOf(box, "volume", "up", "--device", device, "--root", box.root);
  expectMounted(box.root);
  expect(loaded.sort()).toEqual([...always, ...warm].sort());
});
