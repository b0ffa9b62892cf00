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

interface Available {
  /** Files by the name of their module. */
  readonly files: ReadonlyMap<string, string>;
  /** Names of what is in the kernel itself. */
  readonly builtIn: ReadonlySet<string>;
}

function available(packages: string): Available {
  const list = unpackedFile("**/modules.builtin", packages);
  const folder = dirname(list);
  const files = new Bun.Glob("kernel/**/*.ko{,.xz}").scanSync({ cwd: folder, absolute: true });
  return {
    files: new Map([...files].map((file) => [nameOf(file), file])),
    builtIn: new Set(readFileSync(list, "utf8").trim().split("\n").map(nameOf)),
  };
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
 * Modules of the unpacked kernel for virtual machines and all that they need, each after what it needs: the
 * order of loading. The package has no modules.dep before it is installed, so each module is asked.
 */
export function kernelModules(packages: string, names: readonly string[]): readonly Module[] {
  const { files, builtIn } = available(packages);
  const found = new Map<string, Module>();
  const add = (name: string): void => {
    if (found.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`the kernel has no module ${name}`);
    const bytes = read(file);
    for (const needed of needs(bytes)) add(needed.replaceAll("-", "_"));
    found.set(name, { name, bytes });
  };
  for (const name of names) add(name);
  return [...found.values()];
}
