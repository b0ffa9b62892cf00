import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { BuildMetafile, BunPlugin } from "bun";
import { ownArchitecture } from "./architecture.ts";
import { BuildError, run } from "./commands.ts";
import { engineObjects } from "./engine.ts";
import { cache } from "./sources.ts";
import { Toolchain } from "./toolchain.ts";

const sources = join(import.meta.dir, "..", "..", "src");

/** The program that makes bytecode, for the machine that builds: bytecode is the same on both architectures. */
export async function bytecodeCompiler(): Promise<string> {
  const tools = new Toolchain(ownArchitecture);
  const objects = await Promise.all([
    engineObjects(tools),
    tools.compile(["native/compile.c"], "ours"),
  ]);
  const target = join(cache, "compile");
  await tools.link(objects.flat(), target);
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

/** The modules that every boot loads: those of run.ts, whatever it imports; the one of run.ts itself comes first. */
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
    if (entryPoint?.endsWith("src/cli/run.ts") === true) visit(path);
  }
  if (found.size === 0) throw new BuildError("the bundle has no part for src/cli/run.ts");
  return [...found].map((path) => basename(path));
}

/** The program's TypeScript as bytecode. */
export interface Bytecode {
  /** By name of the part, in the order in which they are linked. */
  readonly parts: ReadonlyMap<string, Uint8Array>;
  readonly boot: readonly string[];
}

export async function bytecode(): Promise<Bytecode> {
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "bundle-"));
  try {
    const [compiler, metafile] = await Promise.all([bytecodeCompiler(), bundle(folder)]);
    const parts = new Map<string, Uint8Array>();
    for (const name of readdirSync(folder).sort()) {
      const code = join(folder, `${name}.bytecode`);
      run(compiler, `./${name}`, join(folder, name), code);
      parts.set(name, readFileSync(code));
    }
    return { parts, boot: bootModules(metafile) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
