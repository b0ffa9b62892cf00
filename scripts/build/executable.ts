import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { BuildMetafile, BunPlugin } from "bun";
import { BuildError, run } from "./commands.ts";
import { cache } from "./engine.ts";
import { ownArchitecture, Toolchain } from "./toolchain.ts";

/** Where `npm run build` puts the program. */
export const executable = "dist/arcbox-agent";

const sources = join(import.meta.dir, "..", "..", "src");

/** All of QuickJS-ng but its own programs. */
const engineFiles = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
const hostFiles = [
  "native/seam.c",
  "native/memory.c",
  "native/quickjs-module.c",
  "native/executable.c",
];

const engineObjects = (tools: Toolchain): Promise<string[]> =>
  tools.compile(
    engineFiles.map((file) => join(tools.parts.engine, file)),
    "engine",
  );

/** The program that makes bytecode, for the machine that builds; it is the same for every architecture. */
async function bytecodeCompiler(): Promise<string> {
  const tools = new Toolchain(ownArchitecture);
  const objects = [
    ...(await engineObjects(tools)),
    ...(await tools.compile(["native/compile.c"], "ours")),
  ];
  const target = join(cache, "compile");
  await tools.link(objects, `${target}.${process.pid}`);
  renameSync(`${target}.${process.pid}`, target);
  return target;
}

/**
 * The modules that are loaded at once when they are needed, and not with what needs them: `require("./x.ts")`.
 * Each is a part of its own, under its own name.
 */
function requiredModules(): string[] {
  const required = new Set<string>();
  for (const file of new Bun.Glob("**/*.ts").scanSync({ cwd: sources, absolute: true })) {
    for (const [, path] of readFileSync(file, "utf8").matchAll(/\brequire\("(\.[^"]+\.ts)"\)/g)) {
      required.add(join(dirname(file), path ?? ""));
    }
  }
  return [...required].sort();
}

/** Leaves `require` to the host, which knows each module by the name of its part. */
const requiredByName: BunPlugin = {
  name: "required by name",
  setup(build) {
    build.onResolve({ filter: /^\..*\.ts$/ }, ({ kind, path }) =>
      kind === "require-call"
        ? { path: `./${basename(path, ".ts")}.js`, external: true }
        : undefined,
    );
  },
};

/** Bundles the program: one module for what each command needs, which is loaded when it runs. */
export async function bundle(folder?: string) {
  const { success, logs, metafile } = await Bun.build({
    entrypoints: [join(sources, "main.ts"), ...requiredModules()],
    plugins: [requiredByName],
    ...(folder === undefined ? {} : { outdir: folder }),
    metafile: true,
    target: "browser",
    format: "esm",
    splitting: true,
    // Names and lines stay, for the trace of a fault of ours.
    minify: { syntax: true, whitespace: false, identifiers: false },
    external: ["#native"],
    naming: { entry: "[name].js", chunk: "[name]-[hash].js" },
  });
  if (!success || metafile === undefined) throw new BuildError(logs.map(String).join("\n"));
  return metafile;
}

/** Behind all else, so that what is left out of them moves no code and no data of the engine. */
const chunkSection = `__attribute__((section(".chunks")))`;

/** The modules as bytecode in C; of `frozen` ones, which the snapshot has, nothing but the name. */
function chunksOf(folder: string, names: readonly string[], frozen: ReadonlySet<string>): string {
  const arrays: string[] = [];
  const rows = names.map((name, i) => {
    const code = frozen.has(name) ? [0] : readFileSync(join(folder, `${name}.bytecode`));
    arrays.push(`${chunkSection} static const uint8_t code_${i}[] = {${code.join(",")}};`);
    return `{"./${name}", code_${i}, sizeof code_${i}},`;
  });
  return `#include "chunks.h"
${arrays.join("\n")}
${chunkSection} const struct chunk chunks[] = {${rows.join("\n")}};
const size_t chunk_count = ${rows.length};
`;
}

/** The modules that a warm boot loads: those of `run.ts`, whatever it imports. */
function bootModules({ outputs }: BuildMetafile): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    found.add(path);
    for (const { path: next, kind } of outputs[path]?.imports ?? []) {
      if (kind === "import-statement") visit(next);
    }
  };
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    if (entryPoint === "src/cli/run.ts") visit(path);
  }
  return [...found].map((path) => basename(path));
}

/** Runs what was linked with an empty snapshot, which fills one; in a world that is the same for every build. */
function freeze(first: string, image: string, entry: string): void {
  run("env", "-i", "setarch", "--addr-no-randomize", first, "--freeze", image, `./${entry}`);
}

/** Builds the program for one architecture. */
export async function buildExecutable(tools: Toolchain, target: string): Promise<void> {
  const folder = join(cache, "bundle");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const [compiler, engine, metafile] = await Promise.all([
    bytecodeCompiler(),
    engineObjects(tools),
    bundle(folder),
  ]);
  const names = readdirSync(folder).sort();
  for (const name of names)
    run(compiler, `./${name}`, join(folder, name), join(folder, `${name}.bytecode`));
  const host = await tools.compile(hostFiles, "ours");
  const linked = async (part: string, source: string, frozen: ReadonlySet<string>, at: string) => {
    const chunks = join(folder, `${part}-chunks.c`);
    writeFileSync(chunks, chunksOf(folder, names, frozen));
    await tools.link([...engine, ...host, ...(await tools.compile([chunks, source], "ours"))], at);
  };

  const first = join(folder, "first");
  await linked("first", "native/snapshot-empty.c", new Set(), first);
  const boot = bootModules(metafile);
  const entry = boot.find((name) => name.startsWith("run-"));
  if (entry === undefined) throw new BuildError("the bundle has no part for src/cli/run.ts");
  const image = join(folder, "snapshot");
  freeze(first, image, entry);
  const filled = join(folder, "snapshot-filled.S");
  writeFileSync(filled, filledSnapshot(image));
  // Linked beside it and renamed: whoever runs the old one goes on with it.
  await linked("second", filled, new Set(boot), `${target}.new`);
  renameSync(`${target}.new`, target);
}

/** With the digest of what it includes, by which the compiler's result is kept. */
const filledSnapshot = (image: string): string => `
/* ${createHash("sha256").update(readFileSync(image)).digest("hex")} */
.section .note.GNU-stack,"",%progbits
.section .snapshot,"aw"
.globl snapshot
.balign 4096
snapshot: .incbin "${image}"
`;
