import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { tool } from "../command.ts";
import { unpackedFile } from "../debian.ts";

export interface Module {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The name by which a module is loaded: "-" in a file's name is "_". */
const nameOf = (file: string): string =>
  basename(file)
    .replace(/\.ko.*$/, "")
    .replaceAll("-", "_");

function allFiles(): ReadonlyMap<string, string> {
  const folder = dirname(unpackedFile("**/modules.builtin"));
  const files = new Bun.Glob("kernel/**/*.ko{,.xz}").scanSync({ cwd: folder, absolute: true });
  return new Map([...files].map((file) => [nameOf(file), file]));
}

/** Debian 13 compresses modules, Debian 12 does not. */
const read = (file: string): Buffer =>
  file.endsWith(".xz")
    ? Bun.spawnSync([tool("xz"), "--decompress", "--stdout", file]).stdout
    : readFileSync(file);

/** What a module says of itself in its section .modinfo: strings `key=value`, each ended by a zero. */
function needs(module: Buffer): readonly string[] {
  const [, names = ""] = /\0depends=([^\0]*)\0/.exec(module.toString("latin1")) ?? [];
  return names.split(",").filter(Boolean);
}

/**
 * Modules of the kernel for virtual machines and all that they need, each after what it needs: the
 * order of loading. The package has no modules.dep before it is installed, so each module is asked.
 */
export function kernelModules(names: readonly string[]): readonly Module[] {
  const files = allFiles();
  const found = new Map<string, Module>();
  const add = (name: string): void => {
    if (found.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`the kernel has no module ${name}`);
    const bytes = read(file);
    for (const needed of needs(bytes)) add(needed.replaceAll("-", "_"));
    found.set(name, { name, bytes });
  };
  for (const name of names) add(name);
  return [...found.values()];
}
