import { copyFileSync, renameSync } from "node:fs";
import { type Architecture, architectures, ownArchitecture } from "./architecture.ts";
import { bytecode } from "./bytecode.ts";
import { buildExecutable } from "./executable.ts";
import { buildLibrary } from "./library.ts";
import { Toolchain } from "./toolchain.ts";

/** Where the machine's own program is put, which the tests run. */
export const ownExecutable = "dist/arcbox-agent";

/** Where the npm package has the program and the addon for each architecture. */
export const executablePath = (architecture: Architecture): string =>
  `dist/executable/linux-${architecture}/arcbox-agent`;
const addonPath = (architecture: Architecture): string => `dist/addon/linux-${architecture}.node`;

/** The library, and the executable and the addon for this machine. */
export async function buildOwn(): Promise<void> {
  const tools = new Toolchain(ownArchitecture);
  await Promise.all([
    buildLibrary(),
    tools.addon(addonPath(ownArchitecture)),
    bytecode().then((parts) => buildExecutable(tools, parts, ownExecutable)),
  ]);
}

/** The library, and the executables and the addons for both architectures; with them this machine's own. */
export async function buildAll(): Promise<void> {
  const tools = architectures.map((architecture) => new Toolchain(architecture));
  await buildLibrary();
  const parts = await bytecode();
  for (const each of tools) {
    await each.addon(addonPath(each.architecture));
    await buildExecutable(each, parts, executablePath(each.architecture));
  }
  copyFileSync(executablePath(ownArchitecture), `${ownExecutable}.new`);
  renameSync(`${ownExecutable}.new`, ownExecutable);
}
