/** Compiles the C programs that the bench runs beside ours. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { command } from "../test/kit/command.ts";
import { unpackedFile } from "../test/kit/debian.ts";

const project = join(import.meta.dir, "..");
const folder = join(project, "dist/bench");

const programs = ["empty", "limit", "rust-procedure", "spawn", "appear", "workload"] as const;
type CProgram = (typeof programs)[number];

export const built = (name: CProgram): string => join(folder, name);
export const ours = process.env.ARCBOX_AGENT ?? join(project, "dist/arcbox-agent");
export const peer = (script: string): string => join(import.meta.dir, "peers", script);

/** The program that mounts for the Rust agent's procedure. */
export const busybox = (): string => unpackedFile("**/bin/busybox");

export function build(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of programs) {
    // Static, so that no contender pays for a dynamic loader that another one does not need.
    const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static", `-DBUSYBOX="${busybox()}"`];
    command("gcc", ...flags, "-o", built(name), join(import.meta.dir, "c", `${name}.c`));
  }
}
