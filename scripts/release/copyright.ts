import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { debianCopyright } from "../build/sources.ts";

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
  /** Of a dependency it would be a companion, and it is here for development. */
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

const lock: { readonly packages: Readonly<Record<string, LockedPackage>> } = JSON.parse(
  readFileSync("package-lock.json", "utf8"),
);

const line = "=".repeat(72);

/** A licence as it stands in a package, but for Apache's, which is the same in all of them and is long. */
function licenceText(folder: string): string {
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) return "";
  const text = readFileSync(join(folder, file), "utf8").replaceAll("\r", "");
  return text.includes("TERMS AND CONDITIONS FOR USE, REPRODUCTION") ? "" : text;
}

/** The npm packages that go into the program, each with its licence. */
function npmPackages(): string[] {
  return Object.entries(lock.packages)
    .filter(
      ([folder, { dev, devOptional, optional }]) =>
        folder !== "" && !(dev || devOptional || optional),
    )
    .map(([folder, { version = "", license = "" }]) => {
      const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
      return `${line}\n${name} ${version} (npm), ${license}\n\n${licenceText(folder)}`;
    });
}

/** Who has rights in the executable, and under which licences: our own, the engine's, musl's, the packages'. */
export function copyright(): string {
  const parts = [
    `arcbox-agent, MIT or Apache-2.0, as you like. The text of Apache-2.0 is on Debian in
/usr/share/common-licenses/Apache-2.0 and else at https://www.apache.org/licenses/LICENSE-2.0.
What else is in the executable follows.

${readFileSync("LICENSE-MIT", "utf8")}`,
    ...["qjs-src", "musl-dev"].map(
      (name) => `${line}\n${name} (Debian)\n\n${debianCopyright(name)}`,
    ),
    ...npmPackages(),
  ];
  return `${parts.map((part) => part.trimEnd()).join("\n\n")}\n`;
}
