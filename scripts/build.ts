// `npm run build`: the executable, the library and its addon, for the machine that builds.
import { mkdirSync } from "node:fs";
import { BuildError } from "./build/commands.ts";
import { buildExecutable, executable } from "./build/executable.ts";
import { ownArchitecture, Toolchain } from "./build/toolchain.ts";

try {
  mkdirSync("dist/addon", { recursive: true });
  const tools = new Toolchain(ownArchitecture);
  await tools.addon(`dist/addon/linux-${ownArchitecture}.node`);
  await buildExecutable(tools, executable);
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`build: ${error.message}`);
  process.exitCode = 1;
}
