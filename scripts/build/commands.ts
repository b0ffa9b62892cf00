import { spawnSync } from "node:child_process";

/** Runs a command and gives what it printed; ends the build with its own words when it fails. */
export function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (error !== undefined) throw new BuildError(`${program} cannot be started: ${error.message}`);
  if (status !== 0) throw new BuildError(`${program} failed`);
  return stdout;
}

/** Runs a command beside others. */
export async function start(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "inherit", "inherit"] });
  if ((await child.exited) !== 0) throw new BuildError(`failed: ${command.join(" ")}`);
}

/** A reason for which there is no program, in words for whoever builds it. */
export class BuildError extends Error {
  override readonly name = "BuildError";
}
