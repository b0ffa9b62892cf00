import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { BunPlugin } from "bun";
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

/** The modules as bytecode in C. */
function chunksOf(folder: string, compiler: string, names: readonly string[]): string {
  const arrays: string[] = [];
  const rows: string[] = [];
  names.forEach((name, i) => {
    const code = join(folder, `${name}.bytecode`);
    run(compiler, `./${name}`, join(folder, name), code);
    arrays.push(`static const uint8_t code_${i}[] = {${readFileSync(code).join(",")}};`);
    rows.push(`{"./${name}", code_${i}, sizeof code_${i}},`);
  });
  return `#include "chunks.h"
${arrays.join("\n")}
const struct chunk chunks[] = {${rows.join("\n")}};
const size_t chunk_count = ${rows.length};
`;
}

/** Builds the program for one architecture. */
export async function buildExecutable(tools: Toolchain, target: string): Promise<void> {
  const folder = join(cache, "bundle");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const [compiler, engine] = await Promise.all([
    bytecodeCompiler(),
    engineObjects(tools),
    bundle(folder),
  ]);
  const names = readdirSync(folder).sort();
  const chunks = join(folder, "chunks.c");
  writeFileSync(chunks, chunksOf(folder, compiler, names));
  const ours = await tools.compile([...hostFiles, chunks], "ours");
  // Linked beside it and renamed: whoever runs the old one goes on with it.
  await tools.link([...engine, ...ours], `${target}.new`);
  renameSync(`${target}.new`, target);
}
