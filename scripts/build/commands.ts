import { spawnSync } from "node:child_process";

/** A reason for which there is no program, in words for the person who builds it. */
export class BuildError extends Error {
  override readonly name = "BuildError";
}

function cannotStart(program: string): BuildError {
  return new BuildError(`${program} cannot be started: is it installed?`);
}

/** Runs a command on an input and gives what it printed. */
export function runBytes([program = "", ...args]: readonly string[], input = ""): Buffer {
  const { status, stdout, error } = spawnSync(program, args, {
    input,
    stdio: ["pipe", "pipe", "inherit"],
    maxBuffer: 64 << 20,
  });
  if (error !== undefined) throw cannotStart(program);
  if (status !== 0) throw new BuildError(`${program} failed, see above`);
  return stdout;
}

/** Runs a command and gives the text that it printed. */
export const run = (...command: readonly string[]): string => runBytes(command).toString();

/** Runs a command beside others. */
export async function start(program: string, ...args: readonly string[]): Promise<void> {
  if (Bun.which(program) === null) throw cannotStart(program);
  const child = Bun.spawn([program, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  if ((await child.exited) !== 0) throw new BuildError(`failed: ${program} ${args.join(" ")}`);
}

const PATIENCE_MS = 1000;

/** Says what is being done when it takes longer than a person expects. */
export async function slowly<T>(what: string, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => console.error(`build: ${what}`), PATIENCE_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a script's work; a reason why it failed is one sentence and exit status 1. */
export async function script(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
