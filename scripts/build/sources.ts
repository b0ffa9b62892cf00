import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Architecture, debianNames, ownArchitecture } from "./architecture.ts";
import { BuildError } from "./commands.ts";

const project = join(import.meta.dir, "..", "..");
export const cache = join(project, "node_modules", ".cache", "build");

/** The version that the program is made for. Another one is taken too, and the tests judge it. */
const PINNED = "0.17.0";

/** The folder that QUICKJS_SRC names: the engine from there, and the compiler's own C library. */
const ownSource = process.env.QUICKJS_SRC || undefined;

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
  if (version !== PINNED) {
    console.error(`build: this is QuickJS-ng ${version}, and ${PINNED} is tested: run the tests`);
  }
  return folder;
}

/** Where Debian's packages for an architecture are unpacked; fetched when they are not there yet. */
function unpacked(architecture: Architecture): string {
  const folder = join(cache, `debian-${architecture}`);
  if (existsSync(folder)) return folder;
  // The engine is the same for every architecture.
  const packages = architecture === ownArchitecture ? ["qjs-src", "musl-dev"] : ["musl-dev"];
  console.error(`build: fetching ${packages.join(" and ")} for ${architecture} from Debian`);
  const archive = join(import.meta.dir, "archive.sh");
  const words = [archive, folder, "testing", debianNames[architecture], ...packages];
  const { status, stderr } = spawnSync("bash", words, { encoding: "utf8" });
  if (status === 0) return folder;
  throw new BuildError(
    `${stderr.trim()}; README.md, "Build it", has a way without Debian's archive`,
  );
}

let engine: string | undefined;

/** The folder of quickjs.c. */
export function engineSource(): string {
  engine ??= checked(ownSource ?? join(unpacked(ownArchitecture), "usr/src/quickjs-ng"));
  return engine;
}

/** The root that musl was unpacked into; undefined: the compiler's own C library is meant. */
export const muslRoot = (architecture: Architecture): string | undefined =>
  ownSource === undefined ? join(unpacked(architecture), "usr") : undefined;

/** Debian's word on the rights in a package that was unpacked for this machine. */
export function debianCopyright(name: string): string {
  if (ownSource !== undefined) {
    throw new BuildError("a release is made of Debian's engine and musl, without QUICKJS_SRC");
  }
  const file = join(unpacked(ownArchitecture), "usr/share/doc", name, "copyright");
  return readFileSync(file, "utf8");
}
