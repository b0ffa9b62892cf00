import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { agent, fails, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { compiled } from "../kit/compiled.ts";
import { fingerprint, MiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted } from "../kit/volume.ts";

const sandbox = useSandbox();

/** Whatever somebody keeps from answering, each command is done by then. */
const LIMIT_MS = 5000;

/** A FUSE filesystem whose daemon lives and does not answer: who waits for it cannot even be killed. */
async function silent(box: Sandbox, name: string, mode = "names"): Promise<string> {
  const folder = box.folder(name);
  await box.spawnUntilReady([compiled(box, "fuse", `fuse ${name}`), mode, folder]);
  return folder;
}

const commands = ["plan", "up", "status", "down"] as const;

async function expectSoon(
  argv: readonly string[],
  ...exitCodes: readonly number[]
): Promise<string> {
  const run = await agent(argv);
  expect([argv.join(" "), exitCodes.includes(run.exitCode)]).toEqual([argv.join(" "), true]);
  expect(run.ms).toBeLessThan(LIMIT_MS);
  return run.stderr;
}

const places: readonly (readonly [
  what: string,
  args: (box: Sandbox, folder: string, device: string) => readonly string[],
  exitCode: number,
])[] = [
  ["root", (_, folder, device) => ["--device", device, "--root", folder], 7],
  [
    "a folder for the root",
    (_, folder, device) => ["--device", device, "--root", `${folder}/x`],
    7,
  ],
  [
    "what a link leads to, which is the root",
    (box, folder, device) => {
      symlinkSync(`${folder}/x`, box.path("link"));
      return ["--device", device, "--root", box.path("link")];
    },
    7,
  ],
  [
    "a directory on the way to a mount point",
    (box, folder, device) => {
      mkdirSync(join(box.root, "var/lib"), { recursive: true });
      command("mount", "--bind", folder, join(box.root, "var/lib"));
      return ["--device", device, "--root", box.root];
    },
    7,
  ],
  ["an image", (box, folder) => ["--image", `${folder}/disk.img`, "--root", box.root], 5],
  ["a disk", (box, folder) => ["--device", `${folder}/disk`, "--root", box.root], 5],
];

test.each(places)(
  "nobody waits for a daemon that does not answer for %s",
  async (_what, args, exitCode) => {
    const box = sandbox();
    const { device, image } = box.disk(300 * MiB);
    const before = fingerprint(image);
    const folder = await silent(box, "silent");
    const words = args(box, folder, device);
    for (const name of commands) {
      const said = await expectSoon(["volume", name, ...words], exitCode);
      expect(said).toContain("does not answer");
    }
    expect(fingerprint(image)).toBe(before);
  },
);

test("nor for one on a mount point itself", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const folder = await silent(box, "silent");
  const docker = join(box.root, "var/lib/docker");
  mkdirSync(docker, { recursive: true });
  command("mount", "--bind", folder, docker);
  for (const name of ["plan", "up"] as const) {
    const started = performance.now();
    const { message } = await fails(volume(box, name, ["--device", device]), "target-occupied");
    expect(message).toContain("fuse");
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
  }
  await expectSoon(["volume", "status", "--root", box.root, "--device", device], 0);
  await expectSoon(["volume", "down", "--root", box.root, "--device", device], 0);
});

test("nor for one that has nothing to do with it, nor for processes that live in it", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  await silent(box, "silent");
  const cwd = await silent(box, "reads", "reads");
  await box.spawnUntilReady(["sh", "-c", "echo ready; exec sleep 1000"], { cwd });
  const argv = ["--root", box.root, "--device", device];
  for (const name of commands) await expectSoon(["volume", name, ...argv], 0);
  await up(box, "--device", device);
  // Somebody holds it whom no process shows, so all of them are asked.
  await box.spawnUntilReady([compiled(box, "hold"), "in-flight", join(box.root, "var/lib/cni")]);
  await expectSoon(["volume", "down", ...argv], 8);
  expectMounted(box.root);
});

test("nor for a file that nobody gives the contents of", async () => {
  const box = sandbox();
  const folder = await silent(box, "silent", "reads");
  for (const name of commands) {
    await expectSoon(["volume", name, "--root", box.root, "--image", join(folder, "file")], 5);
  }
  const layout = ["--layout", join(folder, "file"), "--device", box.disk(300 * MiB).device];
  await expectSoon(["volume", "plan", "--root", box.root, ...layout], 2);
});
