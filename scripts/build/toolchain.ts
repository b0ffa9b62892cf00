import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { run, start } from "./commands.ts";
import { cache, type Parts, partsFor } from "./engine.ts";

export type Architecture = "x64" | "arm64";

const gnuNames = { x64: "x86_64", arm64: "aarch64" } as const;

export const ownArchitecture: Architecture = process.arch === "arm64" ? "arm64" : "x64";

/** What has no debug information that names a folder, so that two builds are the same bytes. */
const common = [
  "-O2",
  "-fno-pie",
  "-fno-asynchronous-unwind-tables",
  "-ffunction-sections",
  "-fdata-sections",
];
const strict = ["-Wall", "-Wextra", "-Werror"];

/** Object files by path, so that nobody makes one twice. */
const beingMade = new Map<string, Promise<void>>();

async function compileOne(command: readonly string[], object: string): Promise<void> {
  mkdirSync(dirname(object), { recursive: true });
  const unfinished = `${object}.${process.pid}`;
  await start([...command, "-o", unfinished]);
  renameSync(unfinished, object);
}

/** A compiler and a C library for one architecture. */
export class Toolchain {
  readonly architecture: Architecture;
  readonly parts: Parts;
  readonly #compiler: string;

  constructor(architecture: Architecture) {
    this.architecture = architecture;
    this.parts = partsFor(architecture);
    this.#compiler =
      architecture === ownArchitecture
        ? (process.env.CC ?? "gcc")
        : `${gnuNames[architecture]}-linux-gnu-gcc`;
  }

  /** The compiler's own headers (stddef.h) and musl's, and no others of this machine. */
  get #includes(): string[] {
    const { musl } = this.parts;
    if (musl === null) return [];
    const own = run(this.#compiler, "-print-file-name=include").trim();
    const theirs = join(musl, "include", `${gnuNames[this.architecture]}-linux-musl`);
    return ["-nostdinc", "-isystem", theirs, "-isystem", own];
  }

  /** Compiles sources, those that changed since the last time; gives the object files. */
  async compile(sources: readonly string[], kind: "engine" | "ours"): Promise<string[]> {
    const { engine } = this.parts;
    const flags =
      kind === "engine"
        ? [...common, "-w", "-D_GNU_SOURCE", "-DNDEBUG", ...this.#includes]
        : [...common, ...strict, "-isystem", engine, "-Inative", ...this.#includes];
    const version = run(this.#compiler, "--version").split("\n")[0];
    return Promise.all(
      sources.map(async (source) => {
        const key = [
          version,
          ...flags,
          contents(source),
          ...headersBeside(source),
          ...headersBeside("native/."),
        ];
        const name = `${basename(source).replace(/\.\w+$/, "")}-${digest(key)}.o`;
        const object = join(cache, `objects-${this.architecture}`, name);
        let made = beingMade.get(object);
        if (made === undefined && !existsSync(object)) {
          made = compileOne([this.#compiler, ...flags, "-c", source], object);
          beingMade.set(object, made);
        }
        await made;
        return object;
      }),
    );
  }

  /** Links a static executable without symbols. */
  async link(objects: readonly string[], target: string): Promise<void> {
    const { musl } = this.parts;
    const flags = [
      "-static",
      "-no-pie",
      "-s",
      "-Wl,--gc-sections",
      "-Wl,-z,noseparate-code",
      "-Wl,--build-id=none",
      // Where the snapshot and the bytecode are is the same in both links of the executable.
      "-Wl,--section-start=.snapshot=0x10000000",
      "-Wl,--section-start=.chunks=0x20000000",
    ];
    if (musl === null) {
      await start([this.#compiler, ...flags, "-o", target, ...objects, "-lm"]);
      return;
    }
    const folder = join(musl, "lib", `${gnuNames[this.architecture]}-linux-musl`);
    const own = run(this.#compiler, "-print-libgcc-file-name").trim();
    const [first, start2, last] = ["crt1.o", "crti.o", "crtn.o"].map((name) => join(folder, name));
    await start([
      this.#compiler,
      ...flags,
      "-nostdlib",
      "-o",
      target,
      `${first}`,
      `${start2}`,
      ...objects,
      join(folder, "libc.a"),
      own,
      `${last}`,
    ]);
  }

  /** Links an addon against the machine's C library, whose symbols the host has. */
  async addon(target: string): Promise<void> {
    await start([
      this.#compiler,
      "-shared",
      "-fPIC",
      "-O2",
      "-s",
      ...strict,
      "-DNAPI_VERSION=8",
      "-Inative",
      "-isystem",
      "node_modules/node-api-headers/include",
      "-Wl,--build-id=none",
      "-o",
      target,
      "native/addon.c",
      "native/seam.c",
    ]);
  }
}

const contents = (path: string): string => readFileSync(path, "utf8");
const headersBeside = (path: string): string[] =>
  readdirSync(dirname(path))
    .filter((name) => name.endsWith(".h"))
    .sort()
    .map((name) => contents(join(dirname(path), name)));

const digest = (parts: readonly (string | undefined)[]): string =>
  createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 24);
