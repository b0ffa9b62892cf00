import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Architecture, gnuNames, ownArchitecture } from "./architecture.ts";
import { run, start } from "./commands.ts";
import { cache, engineSource, muslRoot } from "./sources.ts";

/**
 * No unwind tables and no debug information: neither folders nor times get into the program. With -Os it is a sixth
 * smaller and takes an eighth longer, with -O3 a twelfth larger and 3 % quicker.
 */
const COMMON = [
  "-O2",
  "-fno-pie",
  "-fno-asynchronous-unwind-tables",
  "-ffunction-sections",
  "-fdata-sections",
];
const STRICT = ["-Wall", "-Wextra", "-Werror"];
const STATIC = [
  "-static",
  "-no-pie",
  "-s",
  "-Wl,--gc-sections",
  "-Wl,-z,noseparate-code",
  "-Wl,--build-id=none",
  // Where the snapshot and the bytecode are is the same in both links of the program.
  "-Wl,--section-start=.snapshot=0x10000000",
  "-Wl,--section-start=.chunks=0x20000000",
];

/** Object files by path, so that none is made twice. */
const beingMade = new Map<string, Promise<void>>();

/** Makes a file under another name first: it is complete or absent, and the old one goes on where it runs. */
async function whole(target: string, make: (unfinished: string) => Promise<void>): Promise<void> {
  const unfinished = `${target}.${process.pid}`;
  mkdirSync(dirname(target), { recursive: true });
  await make(unfinished);
  renameSync(unfinished, target);
}

/** A compiler and a C library for one architecture. */
export class Toolchain {
  readonly architecture: Architecture;
  readonly #compiler: string;
  readonly #version: string;
  readonly #musl: string | undefined;

  constructor(architecture: Architecture) {
    const isOwn = architecture === ownArchitecture;
    this.architecture = architecture;
    this.#compiler = isOwn ? (process.env.CC ?? "gcc") : `${gnuNames[architecture]}-linux-gnu-gcc`;
    this.#version = this.#ask("--version");
    this.#musl = muslRoot(architecture);
  }

  /** Compiles sources, those that changed since the last time; gives the object files, kept in `folder`. */
  async compile(
    sources: readonly string[],
    kind: "engine" | "ours",
    folder = join(cache, `objects-${this.architecture}`),
  ): Promise<string[]> {
    const flags =
      kind === "engine"
        ? [...COMMON, "-w", "-D_GNU_SOURCE", "-DNDEBUG"]
        : [...COMMON, ...STRICT, "-isystem", engineSource(), "-Inative"];
    flags.push(...this.#includes());
    const headers = headersIn(engineSource(), ...(kind === "engine" ? [] : ["native"]));
    const objects = await Promise.all(
      sources.map(async (source) => {
        const key = digest([this.#version, ...flags, contents(source), ...headers]);
        const object = join(folder, `${basename(source).replace(/\.\w+$/, "")}-${key}.o`);
        let made = beingMade.get(object);
        if (made === undefined && !existsSync(object)) {
          made = whole(object, (file) => start(this.#compiler, ...flags, "-c", source, "-o", file));
          beingMade.set(object, made);
        }
        await made;
        return object;
      }),
    );
    keepOnlyUsed(folder, objects);
    return objects;
  }

  /** Links a static executable without symbols. */
  link(objects: readonly string[], target: string): Promise<void> {
    return whole(target, (file) =>
      start(this.#compiler, ...STATIC, "-o", file, ...this.#withLibrary(objects)),
    );
  }

  /** Makes the addon against glibc; its host has the functions of Node-API. */
  addon(target: string): Promise<void> {
    const flags = ["-shared", "-fPIC", "-O2", "-s", ...STRICT, "-Wl,--build-id=none"];
    const headers = ["-Inative", "-isystem", "node_modules/node-api-headers/include"];
    const sources = ["native/addon.c", "native/seam.c"];
    return whole(target, (file) =>
      start(this.#compiler, ...flags, "-DNAPI_VERSION=8", ...headers, "-o", file, ...sources),
    );
  }

  /** The compiler's own headers (stddef.h) and musl's, and no others of this machine. */
  #includes(): string[] {
    if (this.#musl === undefined) return [];
    const libc = join(this.#musl, "include", this.#muslName);
    return ["-nostdinc", "-isystem", libc, "-isystem", this.#ask("-print-file-name=include")];
  }

  #withLibrary(objects: readonly string[]): string[] {
    if (this.#musl === undefined) return [...objects, "-lm"];
    const folder = join(this.#musl, "lib", this.#muslName);
    const file = (name: string): string => join(folder, name);
    const compilers = this.#ask("-print-libgcc-file-name");
    const before = ["-nostdlib", file("crt1.o"), file("crti.o")];
    return [...before, ...objects, file("libc.a"), compilers, file("crtn.o")];
  }

  get #muslName(): string {
    return `${gnuNames[this.architecture]}-linux-musl`;
  }

  /** The first line of what the compiler says. */
  #ask(question: string): string {
    return run(this.#compiler, question).split("\n", 1)[0] ?? "";
  }
}

const contents = (path: string): string => readFileSync(path, "utf8");
const headersIn = (...folders: readonly string[]): string[] =>
  folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".h"))
      .sort()
      .map((name) => contents(join(folder, name))),
  );

const KEPT_MS = 7 * 24 * 3600_000;

/** Forgets the object files that no build has used for a week: each change of the program leaves some. */
function keepOnlyUsed(folder: string, used: readonly string[]): void {
  const now = Date.now();
  for (const object of used) utimesSync(object, new Date(now), new Date(now));
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const { mtimeMs = now } = statSync(file, { throwIfNoEntry: false }) ?? {};
    if (now - mtimeMs > KEPT_MS) rmSync(file, { force: true });
  }
}

const digest = (parts: readonly string[]): string =>
  createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 24);
