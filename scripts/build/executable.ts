import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type Architecture, gnuNames, ownArchitecture } from "./architecture.ts";
import type { Bytecode } from "./bytecode.ts";
import { run } from "./commands.ts";
import { engineObjects } from "./engine.ts";
import { cache } from "./sources.ts";
import type { Toolchain } from "./toolchain.ts";

const HOST = ["seam", "memory", "quickjs-module", "executable"].map((name) => `native/${name}.c`);
const EMPTY_SNAPSHOT = "native/snapshot-empty.c";

/** Behind all else, so that what is left out of them moves no code and no data of the engine. */
const SECTION = `__attribute__((section(".chunks")))`;

/** The parts in C; of those that a snapshot has, nothing but the name. */
function chunksSource({ parts }: Bytecode, frozen: readonly string[]): string {
  const arrays: string[] = [];
  const rows: string[] = [];
  for (const [name, code] of parts) {
    const kept = frozen.includes(name) ? [0] : code;
    arrays.push(`${SECTION} static const uint8_t code_${rows.length}[] = {${kept.join(",")}};`);
    rows.push(`{"./${name}", code_${rows.length}, sizeof code_${rows.length}},`);
  }
  return `#include "chunks.h"
${arrays.join("\n")}
${SECTION} const struct chunk chunks[] = {${rows.join("\n")}};
const size_t chunk_count = ${rows.length};
`;
}

const snapshotSource = (image: string): string => `
.section .note.GNU-stack,"",%progbits
.section .snapshot,"aw"
.globl snapshot
.balign 4096
snapshot: .incbin "${image}"
`;

/** What runs a program of this architecture on the machine that builds; null where nothing does. */
function runnerOf(architecture: Architecture): readonly string[] | null {
  if (architecture === ownArchitecture) return [];
  const name = `qemu-${gnuNames[architecture]}`;
  const found = Bun.which(`${name}-static`) ?? Bun.which(name);
  return found === null ? null : [found];
}

/**
 * Builds the program. It is linked twice: the first is run once, to load what every boot needs, and the second has
 * in it what memory was then (native/snapshot.h). Where the first cannot be run there is but one, which starts slower.
 */
export async function buildExecutable(
  tools: Toolchain,
  bytecode: Bytecode,
  target: string,
): Promise<void> {
  const folder = mkdtempSync(join(cache, "link-"));
  const objects = await Promise.all([engineObjects(tools), tools.compile(HOST, "ours")]);
  const linked = async (source: string, frozen: readonly string[], at: string): Promise<void> => {
    const chunks = join(folder, "chunks.c");
    writeFileSync(chunks, chunksSource(bytecode, frozen));
    // These are other ones with every change of the program, so they are not kept.
    const made = await tools.compile([chunks, source], "ours", folder);
    await tools.link([...objects.flat(), ...made], at);
  };
  try {
    mkdirSync(dirname(target), { recursive: true });
    const runner = runnerOf(tools.architecture);
    if (runner === null) {
      console.error(
        `build: without qemu-user the program for ${tools.architecture} has no snapshot`,
      );
      await linked(EMPTY_SNAPSHOT, [], target);
      return;
    }
    const [first, image] = [join(folder, "first"), join(folder, "image")];
    await linked(EMPTY_SNAPSHOT, [], first);
    // The same world for every build, because its addresses get into the snapshot.
    const alone = ["env", "-i", "setarch", "--addr-no-randomize", ...runner];
    run(...alone, relative("", first), "--freeze", image, `./${bytecode.boot[0]}`);
    const source = join(folder, "snapshot.S");
    writeFileSync(source, snapshotSource(image));
    await linked(source, bytecode.boot, target);
  } finally {
    if (existsSync(folder)) rmSync(folder, { recursive: true });
  }
}
