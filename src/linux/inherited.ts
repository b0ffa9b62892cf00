import { argument, environment } from "#native";
import { scratch } from "./calls/scratch.ts";
import { call } from "./calls/system-call.ts";
import { fromUtf8, textUntilNul } from "./text.ts";

/** What this process has from who started it. */

/** The words behind the program's name. */
export function commandLine(): readonly string[] {
  const words: string[] = [];
  for (let word = argument(0); word !== null; word = argument(words.length)) {
    words.push(fromUtf8(word));
  }
  return words;
}

/** A variable of the environment; undefined where there is none. */
export function variable(name: string): string | undefined {
  const value = environment(name);
  return value === null ? undefined : fromUtf8(value);
}

/** PATH_MAX of linux/limits.h */
const longestPathBytes = 4096;

/** getcwd(2). Throws a SystemError where it was deleted. */
export function workingDirectory(): string {
  const { bytes } = scratch(longestPathBytes);
  call("getcwd", undefined, bytes, bytes.length);
  return textUntilNul(bytes);
}
