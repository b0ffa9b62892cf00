import { copyFileSync, renameSync } from "node:fs";
import { type Architecture, architectures, ownArchitecture } from "./architecture.ts";
import { bytecode } from "./bytecode.ts";
import { engineObjects } from "./engine.ts";
import { Toolchain } from "./toolchain.ts";

/** Where the machine's own program is put, which the tests run. */
export const ownExecutable = "dist/arcbox-agent";

/** Where the npm package has the program and the addon for each architecture. */
export const executablePath = (architecture: Architecture): string =>
  `dist/executable/linux-${architecture}/arcbox-agent`;
const addonPath = (architecture: Architecture): string => `dist/addon/linux-${architecture}.node`;

const HOST = ["seam", "memory", "quickjs-module", "executable"].map((name) => `native/${name}.c`);

async function executable(tools: Toolchain, chunks: string, target: string): Promise<void> {
  const objects = await Promise.all([
    engineObjects(tools),
    tools.compile([...HOST, chunks], "ours"),
  ]);
  await tools.link(objects.flat(), target);
}

/** The executable and the addon for this machine. */
export async function buildOwn(): Promise<void> {
  const tools = new Toolchain(ownArchitecture);
  await tools.addon(addonPath(ownArchitecture));
  await executable(tools, await bytecode(), ownExecutable);
}

/** The executables and the addons for both architectures, and with them this machine's own. */
export async function buildAll(): Promise<void> {
  const tools = architectures.map((architecture) => new Toolchain(architecture));
  const chunks = await bytecode();
  for (const each of tools) {
    await each.addon(addonPath(each.architecture));
    await executable(each, chunks, executablePath(each.architecture));
  }
  copyFileSync(executablePath(ownArchitecture), `${ownExecutable}.new`);
  renameSync(`${ownExecutable}.new`, ownExecutable);
}
