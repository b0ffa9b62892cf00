import packageJson from "../../package.json" with { type: "json" };
import { BuildError, run } from "../build/commands.ts";

export const { version } = packageJson;

/** The time of the release in seconds: that of the last commit, so that all builds of it are the same bytes. */
export function releaseTime(): number {
  const text = process.env.SOURCE_DATE_EPOCH ?? run("git", "log", "-1", "--format=%ct");
  const seconds = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(seconds) && seconds >= 0) return seconds;
  throw new BuildError(`SOURCE_DATE_EPOCH is a number of seconds, not ${text}`);
}
