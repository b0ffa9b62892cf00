import { readFileSync, rmSync } from "node:fs";
import { tool } from "../test/kit/command.ts";
import { built } from "./build.ts";

/** What one run of a whole process cost, its descendants included. */
export interface Sample {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakRssMib: number;
}

/** Runs one of the C programs; the numbers on the line it prints. */
export function numbersOf(words: readonly string[]): readonly number[] {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...words], { stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: exit ${exitCode}: ${stderr.toString()}`);
  return stdout.toString().trim().split(" ").map(Number);
}

/** Runs a command line once. Throws when it fails. */
export function sample(words: readonly string[]): Sample {
  const [wall = Number.NaN, cpu = Number.NaN, rss = Number.NaN, status] = numbersOf([
    built("spawn"),
    ...words,
  ]);
  if (status !== 0) throw new Error(`${words.join(" ")} ended with exit code ${status}`);
  return { wallMs: wall / 1e6, cpuMs: cpu / 1e3, peakRssMib: rss / 1024 };
}

/** How many processes a command line starts beside its own. strace slows it: never a counted run. */
export function countProcesses(words: readonly string[], log: string): number {
  const calls = "--trace=fork,vfork,clone,clone3";
  const strace = [tool("strace"), "--follow-forks", "--quiet=all", "--signal=none", calls];
  const { exitCode, stderr } = Bun.spawnSync([...strace, `--output=${log}`, ...words], {
    stdin: "ignore",
  });
  if (exitCode !== 0)
    throw new Error(`strace ${words.join(" ")}: exit ${exitCode}: ${stderr.toString()}`);
  const lines = readFileSync(log, "utf8").split("\n");
  rmSync(log);
  return lines.filter(
    (line) => /\d +(v?fork|clone3?)\(/.test(line) && !/CLONE_THREAD|= -/.test(line),
  ).length;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of the ratios within each round: what slows the machine for a while slows both. */
export const pairedRatio = (values: readonly number[], others: readonly number[]): number =>
  median(values.map((value, i) => value / (others[i] ?? Number.NaN)));
