import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BuildError, start } from "./commands.ts";
import { cache } from "./sources.ts";

/** Where `exports` of package.json has the library. */
const LIBRARY = "dist/library";

const ENTRIES = ["btrfs/index", "volume/index"] as const;

/** Bundles the entry points with all that they need but the seam, which is the host's (`#native`). */
async function bundle(folder: string): Promise<void> {
  const { success, logs } = await Bun.build({
    entrypoints: ENTRIES.map((entry) => `src/${entry}.ts`),
    root: "src",
    outdir: folder,
    // As the program is bundled: the sources know neither Bun nor Node, and nor do those of the packages.
    target: "browser",
    format: "esm",
    splitting: true,
    minify: { syntax: true, whitespace: false, identifiers: false },
    external: ["#native"],
    naming: { entry: "[dir]/[name].js", chunk: "shared-[hash].js" },
  });
  if (!success) throw new BuildError(logs.map(String).join("\n"));
}

/** The module that a declaration names, with its ending. */
const SPECIFIER = /(\bfrom |\bimport\()"([^"]+)"/g;

/**
 * Copies the declarations that an entry point reaches, beside the JavaScript. They name one another by ".js",
 * because not every TypeScript understands ".ts" there.
 */
function copyReached(from: string, to: string): void {
  const reached = new Set<string>(ENTRIES);
  for (const name of reached) {
    const text = readFileSync(join(from, `${name}.d.ts`), "utf8");
    const rewritten = text.replace(SPECIFIER, (_, before: string, module: string) => {
      if (!module.startsWith(".")) throw new BuildError(`the types of ${name}.ts need ${module}`);
      const other = module.replace(/\.ts$/, "");
      reached.add(join(dirname(name), other));
      return `${before}"${other}.js"`;
    });
    const target = join(to, `${name}.d.ts`);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, rewritten);
  }
}

async function declarations(scratch: string, folder: string): Promise<void> {
  const emitted = join(scratch, "declarations");
  await start("node_modules/.bin/tsc", "-p", "src/tsconfig.library.json", "--outDir", emitted);
  copyReached(emitted, folder);
}

/** Makes the library: JavaScript for Node and Bun, and its declarations. */
export async function buildLibrary(): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, "library-"));
  try {
    const folder = join(scratch, "library");
    await Promise.all([bundle(folder), declarations(scratch, folder)]);
    mkdirSync(dirname(LIBRARY), { recursive: true });
    rmSync(LIBRARY, { recursive: true, force: true });
    renameSync(folder, LIBRARY);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
