// Runs the demo's commands, and leaves nothing behind however the demo ends.
import { existsSync, mkdirSync } from "node:fs";
import { relative, resolve } from "node:path";
import type { Subprocess } from "bun";
import { attachedLoops } from "../../test/kit/loops.ts";
import { mountsUnder } from "../../test/kit/mountinfo.ts";
import { command } from "./narrator.ts";

const project = resolve(import.meta.dir, "../..");
const folder = `${project}/demo`;
const agent = "dist/arcbox-agent";
export const image = `${folder}/data.img`;
export const root = `${folder}/root`;

export const mounted = (): string[] => mountsUnder(folder).map(({ path }) => path);
export const attached = (): string[] => [...attachedLoops(folder).keys()];

/** How a path is written in a command line that a reader may want to copy. */
export const shown = (path: string): string => relative(project, path);

const diskOptions = ["--image", shown(image), "--root", shown(root)];

/** Thrown where the demo stops because it was asked to. */
export class Stopped extends Error {}

let running: Subprocess | undefined;
let signal: NodeJS.Signals | undefined;

/** From here on these signals end the demo at its next step, which then cleans up. */
export function stopOnSignals(): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      signal ??= name;
      running?.kill();
    });
  }
}

interface Finished {
  readonly exitCode: number;
  readonly ms: number;
  readonly output: string;
}

async function run(words: string[], output: "inherit" | "pipe"): Promise<Finished> {
  const before = performance.now();
  // `detached`: a session of its own, so that a Ctrl-C reaches it only through us, not while it
  // is cleaning up.
  const child = Bun.spawn(words, {
    cwd: project,
    stdin: "ignore",
    stdout: output,
    stderr: output,
    detached: true,
  });
  running = child;
  const text = child.stdout ? new Response(child.stdout).text() : "";
  const exitCode = await child.exited;
  running = undefined;
  return { exitCode, ms: performance.now() - before, output: await text };
}

/** Shows a command line and runs it; its output goes where ours goes. Returns its milliseconds. */
async function show(line: string, words: string[]): Promise<number> {
  command(line);
  const { exitCode, ms } = await run(words, "inherit");
  if (signal) throw new Stopped();
  if (exitCode !== 0) throw new Error(`\`${line}\` ended with exit code ${exitCode}`);
  return ms;
}

/** A command as one would type it in a shell. */
export const shell = (line: string): Promise<number> => show(line, ["sh", "-c", line]);

export function volume(verb: "up" | "down" | "plan", ...options: string[]): Promise<number> {
  const words = ["volume", verb, ...diskOptions, ...options];
  return show([agent, ...words].join(" "), [agent, ...words]);
}

export const makeFolder = (): void => mkdirSync(folder);

/** Nobody else's mounts may be below the folder that the demo removes. */
export function refuseForeignMounts(): void {
  const [path] = mounted();
  if (path === undefined) return;
  const down = [agent, "volume", "down", ...diskOptions].join(" ");
  throw new Error(`${shown(path)} is in use: something is mounted there. Free it with: ${down}`);
}

export const leftovers = (): string[] => [
  ...mounted(),
  ...attached(),
  ...(existsSync(folder) ? [folder] : []),
];

/** Unmounts, detaches and removes whatever there is of this run, or of one that was killed. */
export async function cleanUp(): Promise<void> {
  if (existsSync(image)) await run([agent, "volume", "down", ...diskOptions], "pipe");
  // What `down` could not do: the demo must not depend on what it demonstrates.
  for (const path of mounted().reverse()) await run(["umount", path], "pipe");
  for (const device of attached()) await run(["losetup", "--detach", device], "pipe");
  // Nothing is removed by way of a mount.
  if (mounted().length === 0) await run(["rm", "-rf", "--one-file-system", folder], "pipe");
  if (leftovers().length > 0) throw new Error(`could not clean up ${leftovers().join(", ")}`);
}
