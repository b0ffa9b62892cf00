import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { checkReport, parseReport, type Report } from "./report.ts";
import type { Sandbox } from "./sandbox.ts";

/** The executable under test. */
export const agentPath =
  process.env.ARCBOX_AGENT ?? join(import.meta.dir, "..", "..", "dist", "arcbox-agent");

const RUN_LIMIT_MS = 55_000;

export interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface VolumeRun extends Run {
  readonly report: Report;
}

export interface Running {
  readonly child: Subprocess;
  readonly done: Promise<Run>;
}

/** Starts a command line, by default of the agent. */
export function start(
  args: readonly string[],
  options: {
    readonly prefix?: readonly string[];
    readonly cwd?: string;
    readonly path?: string;
  } = {},
): Running {
  if (!existsSync(agentPath)) throw new Error(`${agentPath} is missing: npm run build`);
  const began = performance.now();
  const child = Bun.spawn([...(options.prefix ?? []), agentPath, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: RUN_LIMIT_MS,
    killSignal: "SIGKILL",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...(options.path === undefined ? {} : { PATH: options.path }) },
  });
  const collect = async (): Promise<Run> => {
    const [stdout, stderr, exitCode] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { exitCode, stdout, stderr, ms: performance.now() - began };
  };
  return { child, done: collect() };
}

export const agent = (args: readonly string[], options?: Parameters<typeof start>[1]) =>
  start(args, options).done;

export type Command = "up" | "plan" | "down";

/** `arcbox-agent volume …` with `--json` and the sandbox's root; the report is checked. */
export async function volume(
  box: Sandbox,
  command: Command,
  args: readonly string[],
  options?: Parameters<typeof start>[1],
): Promise<VolumeRun> {
  return reported(
    command,
    start(["volume", command, "--json", "--root", box.root, ...args], options).done,
  );
}

/** What a command printed as `--json`, checked. */
export async function reported(command: Command, done: Promise<Run>): Promise<VolumeRun> {
  const run = await done;
  try {
    const report = parseReport(run.stdout);
    if (command !== "down") checkReport(report, run.exitCode, command === "plan");
    return { ...run, report };
  } catch (cause) {
    throw new Error(
      `${command}: ${String(cause)}\nexit ${run.exitCode}\nout: ${run.stdout}\nerr: ${run.stderr}`,
    );
  }
}

/** The report of a command that had to succeed. */
export async function succeeds(run: Promise<VolumeRun>): Promise<Report> {
  const { report, exitCode, stdout } = await run;
  if (exitCode !== 0 || report.error !== null) throw new Error(`it failed: ${stdout}`);
  return report;
}

/** The error of a command that had to fail with this code. */
export async function fails(
  run: Promise<VolumeRun>,
  ...codes: readonly string[]
): Promise<NonNullable<Report["error"]> & { readonly report: Report }> {
  const { report, stdout } = await run;
  if (report.error === null) throw new Error(`it should have failed (${codes.join()}): ${stdout}`);
  if (!codes.includes(report.error.code)) {
    throw new Error(`failed with ${report.error.code}, not ${codes.join()}: ${stdout}`);
  }
  return { ...report.error, report };
}

export const up = (box: Sandbox, ...args: readonly string[]) => succeeds(volume(box, "up", args));
export const plan = (box: Sandbox, ...args: readonly string[]) =>
  succeeds(volume(box, "plan", args));
export const down = (box: Sandbox, ...args: readonly string[]) =>
  succeeds(volume(box, "down", args));
