import { readFileSync } from "node:fs";

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const lock: { readonly packages: Readonly<Record<string, LockedPackage>> } = JSON.parse(
  readFileSync("package-lock.json", "utf8"),
);

export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly folder: string;
}

/** The folder in which Node finds a package that is needed in another folder, "" for our own. */
function folderOf(name: string, from: string): string {
  const nested = `${from}${from === "" ? "" : "/"}node_modules/${name}`;
  if (nested in lock.packages || from === "") return nested;
  return folderOf(name, from.slice(0, Math.max(0, from.lastIndexOf("node_modules/") - 1)));
}

const nameOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

/** The npm packages that the sources import. */
function imported(): ReadonlySet<string> {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const names = new Set<string>();
  for (const file of new Bun.Glob("src/**/*.ts").scanSync()) {
    for (const { path } of transpiler.scanImports(readFileSync(file, "utf8"))) {
      if (!/^[.#]/.test(path)) names.add(nameOf(path));
    }
  }
  return names;
}

/** The npm packages that go into the program or the library, and what those need. */
export function bundledPackages(): readonly BundledPackage[] {
  const folders = new Set([...imported()].map((name) => folderOf(name, "")));
  // What is added to a set while it is gone through has its turn too.
  for (const folder of folders) {
    const needed = Object.keys(lock.packages[folder]?.dependencies ?? {});
    for (const name of needed) folders.add(folderOf(name, folder));
  }
  return [...folders].sort().map((folder) => {
    const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
    const { version = "", license = "" } = lock.packages[folder] ?? {};
    return { name, version, license, folder };
  });
}
