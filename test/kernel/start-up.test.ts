import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();
const project = join(import.meta.dir, "..", "..");

/** What every start loads. A new name here costs each boot of each machine: is it needed there? */
const always = [
  "package.json",
  "src/cli/run.ts",
  "src/cli/terminal.ts",
  ...["blkid", "errno", "kernel", "libc-kernel", "struct", "text"].map(inLinux),
  "src/main.ts",
  "src/volume/error.ts",
];

/** What a warm `up` loads beside that: no checksum, no schema of layouts, no help, no status. */
const warm = [
  "node_modules/arg/index.js",
  ...["checksum", "ioctls", "mounted", "superblock"].map((name) => `src/btrfs/${name}.ts`),
  ...["arguments", "render", "show", "volume-command"].map((name) => `src/cli/${name}.ts`),
  ...["aligned-buffer", "appearance", "block-device", "files", "ioctl", "loop"].map(inLinux),
  ...["mountinfo", "zeros"].map(inLinux),
  ...["blank", "capacity", "cmdline", "context", "device", "disk", "filesystem"].map(inVolume),
  ...["foreign", "format", "image", "intent", "layout", "lock", "mount", "nocow"].map(inVolume),
  "src/volume/mount-journal.ts",
  ...["options", "ours", "places", "repair", "report", "root-user", "selector"].map(inVolume),
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

test("--version loads the way in and nothing of the volume", async () => {
  expect((await modulesOf(sandbox(), "--version")).sort()).toEqual([...always].sort());
});

test("a warm up loads the modules that are named here and no other", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const loaded = await modulesOf(box, "volume", "up", "--device", device, "--root", box.root);
  expectMounted(box.root);
  expect(loaded.sort()).toEqual([...always, ...warm].sort());
});
