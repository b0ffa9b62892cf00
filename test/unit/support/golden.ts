import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { program } from "./gate.ts";
import { MiB } from "./sparse-disk.ts";

/** A folder that is gone again after `use`. */
export function withFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "arcbox-unit-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program to its end; its standard output. Throws with what it said when it fails. */
export function output(name: string, ...args: readonly string[]): string {
  const done = Bun.spawnSync([program(name) ?? name, ...args], { stdin: "ignore" });
  if (done.exitCode === 0) return done.stdout.toString();
  throw new Error(`${name} ${args.join(" ")}: ${done.stdout.toString()}${done.stderr.toString()}`);
}

const goldenBytes = 128 * MiB;

/** What mkfs.btrfs made, and what `btrfs inspect-internal dump-super` says of it. */
export interface Golden {
  readonly image: Uint8Array;
  /** The dump of the primary and of the mirror at 64 MiB, by the name of the field. */
  readonly primary: ReadonlyMap<string, string>;
  readonly mirror: ReadonlyMap<string, string>;
}

export function makeGolden(...mkfsOptions: readonly string[]): Golden {
  return withFolder((folder) => {
    const path = join(folder, "golden.img");
    writeFileSync(path, "");
    truncateSync(path, goldenBytes);
    output("mkfs.btrfs", "--quiet", "--nodiscard", ...mkfsOptions, path);
    const dump = (copy: string) =>
      dumped(output("btrfs", "inspect-internal", "dump-super", "--super", copy, path));
    // Not a Buffer: its slice() is no copy.
    const image = new Uint8Array(readFileSync(path));
    return { image, primary: dump("0"), mirror: dump("1") };
  });
}

/** Lines "name<tab>value"; marks such as "[match]" are left out. */
function dumped(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, name, value] = /^(\S[^\t]*)\t+(.*?)(?: \[match\])?$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) fields.set(name, value);
  }
  return fields;
}
