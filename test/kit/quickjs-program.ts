import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownArchitecture } from "../../scripts/build/architecture.ts";
import { bytecodeCompiler } from "../../scripts/build/bytecode.ts";
import { buildExecutable } from "../../scripts/build/executable.ts";
import { Toolchain } from "../../scripts/build/toolchain.ts";
import { command } from "./command.ts";

/** What every boot needs is loaded into the snapshot; here that is nothing. */
const boot = "boot.js";

/**
 * Builds a program as ours is built, but of these modules, by name; "main.js" is the first. In a folder of its own,
 * which `remove` takes away.
 */
export async function quickjsProgram(modules: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), "arcbox-quickjs-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const compiler = await bytecodeCompiler();
    const parts = new Map<string, Uint8Array>();
    for (const [name, source] of Object.entries({ ...modules, [boot]: "export {};" })) {
      const [file, code] = [join(folder, name), join(folder, `${name}.bytecode`)];
      writeFileSync(file, source);
      command(compiler, `./${name}`, file, code);
      parts.set(name, readFileSync(code));
    }
    const program = join(folder, "program");
    await buildExecutable(new Toolchain(ownArchitecture), { parts, boot: [boot] }, program);
    return { program, remove };
  } catch (error) {
    remove();
    throw error;
  }
}
