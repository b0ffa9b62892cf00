/** Compiles what the bench runs beside our program: the C programs, and two small ones in TypeScript. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../package.json";
import { command } from "../test/kit/command.ts";

const project = join(import.meta.dir, "..");
const folder = join(project, "dist/bench");

const programs = ["limit", "rust-procedure", "spawn", "appear", "workload"] as const;
type CProgram = (typeof programs)[number];

export const built = (name: CProgram | "empty" | "limit-ts"): string => join(folder, name);
export const ours = process.env.ARCBOX_AGENT ?? join(project, "dist/arcbox-agent");
export const peer = (script: string): string => join(import.meta.dir, "peers", script);

export function build(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of programs) {
    // Static, so that no contender pays for a dynamic loader that another one does not need.
    const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static"];
    command("gcc", ...flags, "-o", built(name), join(import.meta.dir, "c", `${name}.c`));
  }
  compile("empty.ts", built("empty"));
  compile("limit.ts", built("limit-ts"));
}

/** As our program is compiled. */
function compile(source: string, outfile: string): void {
  const words = packageJson.scripts.build
    .replace("src/main.ts", join(import.meta.dir, source))
    .replace("dist/arcbox-agent", outfile)
    .split(" ");
  const { exitCode, stderr } = Bun.spawnSync(words, { cwd: project, stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`${source} does not compile: ${stderr.toString()}`);
}
