import { join } from "node:path";
import { command } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

/** Compiles a C program of test/kit/c into the sandbox, and gives its path. */
export function compiled(box: Sandbox, name: string, as = name): string {
  const path = box.path(as);
  const source = join(import.meta.dir, "c", `${name}.c`);
  command("gcc", "-O1", "-pthread", "-w", "-o", path, source);
  return path;
}
