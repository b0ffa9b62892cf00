import { readText } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";

/** The first token `KEY=value` of the kernel command line whose value is not empty. */
export function cmdlineValue(cmdline: string, key: string): string | undefined {
  return cmdline
    .split(/\s+/)
    .filter((token) => token.startsWith(`${key}=`))
    .map((token) => token.slice(key.length + 1))
    .find((value) => value !== "");
}

export const readCmdline = (kernel: Kernel): string => readText(kernel, "/proc/cmdline");
