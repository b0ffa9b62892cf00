import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { debianCopyright } from "../build/sources.ts";
import { bundledPackages } from "./bundled-packages.ts";

const line = "=".repeat(72);

/** A licence as it stands in a package, but for Apache's, which is the same in all of them and is long. */
function licenceText(folder: string): string {
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) return "";
  const text = readFileSync(join(folder, file), "utf8").replaceAll("\r", "");
  return text.includes("TERMS AND CONDITIONS FOR USE, REPRODUCTION") ? "" : text;
}

/** The npm packages that go into the program and the library, each with its licence. */
const npmPackages = (): string[] =>
  bundledPackages().map(
    ({ name, version, license, folder }) =>
      `${line}\n${name} ${version} (npm), ${license}\n\n${licenceText(folder)}`,
  );

/** Who has rights in the executable and the library, and under which licences: our own, the engine's, musl's, the packages'. */
export function copyright(): string {
  const parts = [
    `arcbox-agent, MIT or Apache-2.0, as you like. The text of Apache-2.0 is on Debian in
/usr/share/common-licenses/Apache-2.0 and else at https://www.apache.org/licenses/LICENSE-2.0.
What else is in the executable and the library follows.

${readFileSync("LICENSE-MIT", "utf8")}`,
    ...["qjs-src", "musl-dev"].map(
      (name) => `${line}\n${name} (Debian)\n\n${debianCopyright(name)}`,
    ),
    ...npmPackages(),
  ];
  return `${parts.map((part) => part.trimEnd()).join("\n\n")}\n`;
}
