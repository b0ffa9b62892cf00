import { readFileSync, writeFileSync } from "node:fs";
import type { Sandbox } from "./sandbox.ts";

/** Adds words to what this mount namespace sees as the kernel's command line. */
export function addToCommandLine(box: Sandbox, words: string): void {
  const file = box.path("cmdline");
  writeFileSync(file, `${readFileSync("/proc/cmdline", "utf8").trim()} ${words}\n`);
  box.cover(file, "/proc/cmdline");
}
