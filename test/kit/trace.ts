import { readFileSync } from "node:fs";
import { tool } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

/** Runs the agent under strace; `calls` are the matching lines of its log. */
export interface Trace {
  readonly prefix: readonly string[];
  readonly calls: () => string[];
}

export function traced(box: Sandbox, expression: string, ...options: readonly string[]): Trace {
  const log = box.path("strace.log");
  return {
    prefix: [
      tool("strace"),
      "--follow-forks",
      "--quiet=all",
      "--signal=none",
      "--string-limit=256",
      `--output=${log}`,
      `--trace=${expression}`,
      ...options,
    ],
    calls: () =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => line.replace(/^\d+\s+/, "")),
  };
}
