import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { ownArchitecture } from "../../scripts/build/architecture.ts";
import { bytecode } from "../../scripts/build/bytecode.ts";
import { engineFiles } from "../../scripts/build/engine.ts";
import { cache, engineSource } from "../../scripts/build/sources.ts";
import { command } from "./command.ts";

const project = join(import.meta.dir, "..", "..");
const folder = join(cache, "sanitized");

const plain = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address"];
/** The engine's own arithmetic is not ours to judge: only what we do to its memory is. */
const theirs = [...plain, "-w", "-D_GNU_SOURCE"];
const ours = [
  ...plain,
  "-fsanitize=undefined",
  "-fno-sanitize-recover=all",
  "-Wall",
  "-Wextra",
  "-Werror",
];

async function gcc(words: readonly string[], target: string): Promise<void> {
  const unfinished = `${target}.${process.pid}`;
  const child = Bun.spawn(["gcc", ...words, "-o", unfinished], { cwd: project, stderr: "pipe" });
  if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text());
  renameSync(unfinished, target);
}

/** An object file of a source; kept where nothing that goes into it has changed. */
async function compiled(source: string, flags: readonly string[]): Promise<string> {
  // Ours are not the engine's, which takes a minute.
  const all = flags === theirs ? [] : readdirSync(join(project, "native"));
  const headers = all.filter((name) => name.endsWith(".h"));
  const read = [source, ...headers.map((name) => `native/${name}`)].map((path) =>
    readFileSync(path.startsWith("/") ? path : join(project, path), "utf8"),
  );
  const key = createHash("sha256")
    .update([...flags, ...read].join("\0"))
    .digest("hex");
  const object = join(folder, `${basename(source, ".c")}-${key.slice(0, 24)}.o`);
  if (!existsSync(object)) await gcc([...flags, "-c", source], object);
  return object;
}

/**
 * Builds a program of sources of the project, under gcc's address and undefined-behaviour sanitizers, with the
 * engine if it needs it. Gives its path.
 */
export async function sanitized(
  name: string,
  sources: readonly string[],
  withEngine: boolean,
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const engine = engineSource();
  const objects = await Promise.all([
    ...(withEngine ? engineFiles.map((file) => compiled(join(engine, file), theirs)) : []),
    ...sources.map((file) => compiled(file, [...ours, "-isystem", engine, "-Inative"])),
  ]);
  const target = join(folder, name);
  await gcc(["-fsanitize=address,undefined", ...objects, "-lm"], target);
  return target;
}

/** The whole program, without a snapshot; gives its path. */
export async function sanitizedProgram(): Promise<string> {
  const { parts } = await bytecode();
  const arrays: string[] = [];
  const rows: string[] = [];
  for (const [name, code] of parts) {
    arrays.push(`static const uint8_t code_${rows.length}[] = {${code.join(",")}};`);
    rows.push(`{"./${name}", code_${rows.length}, sizeof code_${rows.length}},`);
  }
  mkdirSync(folder, { recursive: true });
  const own = mkdtempSync(join(folder, "chunks-"));
  const chunks = join(own, "chunks.c");
  writeFileSync(
    chunks,
    `#include "chunks.h"
${arrays.join("\n")}
const struct chunk chunks[] = {${rows.join("\n")}};
const size_t chunk_count = ${rows.length};
`,
  );
  try {
    const names = ["seam", "memory", "quickjs-module", "executable", "snapshot-empty"];
    return await sanitized("agent", [...names.map((name) => `native/${name}.c`), chunks], true);
  } finally {
    rmSync(own, { recursive: true });
  }
}

/**
 * A package with the seam as a sanitized addon, as far as Node needs one: a folder with `native/addon.js`, which
 * loads it.
 */
export async function sanitizedPackage(): Promise<string> {
  const root = join(folder, "package");
  const addons = join(root, "dist", "addon");
  mkdirSync(addons, { recursive: true });
  mkdirSync(join(root, "native"), { recursive: true });
  for (const file of ["package.json", "native/addon.js"]) {
    copyFileSync(join(project, file), join(root, file));
  }
  const includes = ["-Inative", "-isystem", "node_modules/node-api-headers/include"];
  await gcc(
    [
      ...ours,
      "-shared",
      "-fPIC",
      "-DNAPI_VERSION=8",
      ...includes,
      "native/addon.c",
      "native/seam.c",
    ],
    join(addons, `linux-${ownArchitecture}.node`),
  );
  return root;
}

/** What a program that was built without a sanitizer has to load first. */
export const sanitizerLibrary = (): string => command("gcc", "-print-file-name=libasan.so").trim();
