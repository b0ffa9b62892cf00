import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BuildError, run } from "./commands.ts";
import type { Architecture } from "./toolchain.ts";

const project = join(import.meta.dir, "..", "..");
export const cache = join(project, "node_modules", ".cache", "build");

const debianNames = { x64: "amd64", arm64: "arm64" } as const;

/** What the executable is made of beside our own code. */
export interface Parts {
  /** The folder of quickjs.c. */
  readonly engine: string;
  /** The root that musl was unpacked into; null: the compiler's own C library. */
  readonly musl: string | null;
}

/** The version that the build is made for; another one is taken, and the tests judge it. */
const pinned = "0.17.0";

function versionOf(folder: string): string {
  const header = readFileSync(join(folder, "quickjs.h"), "utf8");
  const part = (name: string): string =>
    new RegExp(`#define QJS_VERSION_${name} +(\\d+)`).exec(header)?.[1] ?? "?";
  return `${part("MAJOR")}.${part("MINOR")}.${part("PATCH")}`;
}

function checked(folder: string): string {
  if (!existsSync(join(folder, "quickjs.c"))) {
    throw new BuildError(`${folder} is no source of QuickJS-ng: it has no quickjs.c`);
  }
  const version = versionOf(folder);
  if (version !== pinned)
    console.log(`build: QuickJS-ng ${version}, made for ${pinned}: run the tests`);
  return folder;
}

/** QuickJS-ng and musl, from Debian or, with QUICKJS_SRC, from a folder and the machine's own C library. */
export function partsFor(architecture: Architecture): Parts {
  const own = process.env.QUICKJS_SRC;
  if (own !== undefined && own !== "") return { engine: checked(own), musl: null };
  const unpacked = join(cache, `debian-${architecture}`);
  if (!existsSync(unpacked)) {
    run(
      "bash",
      join(import.meta.dir, "archive.sh"),
      unpacked,
      debianNames[architecture],
      "qjs-src",
      "musl-dev",
    );
  }
  return {
    engine: checked(join(unpacked, "usr", "src", "quickjs-ng")),
    musl: join(unpacked, "usr"),
  };
}
