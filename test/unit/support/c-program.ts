import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "./gate.ts";
import { output, withFolder } from "./golden.ts";

const kernelHeaders = [
  "stdio.h",
  "stddef.h",
  "linux/btrfs.h",
  "linux/btrfs_tree.h",
  "linux/fs.h",
  "linux/loop.h",
];

/** What is missing to ask the kernel's own headers; null when nothing is. */
export function lackingCompiler(): string | null {
  if (program("gcc") === null) return "gcc";
  if (!existsSync("/usr/include/linux/btrfs.h")) return "the kernel's headers";
  return existsSync("/usr/include/stdio.h") ? null : "the C library's headers";
}

/** The values of C expressions, as a compiler with the kernel's headers computes them; `more` are lines behind those. */
export function inC<Name extends string>(
  expressions: Readonly<Record<Name, string>>,
  headers: readonly string[] = kernelHeaders,
  more: readonly string[] = [],
): Readonly<Record<Name, number>> {
  const prints = Object.entries<string>(expressions).map(
    ([name, expression]) =>
      `  printf("%s %llu\\n", "${name}", (unsigned long long)(${expression}));`,
  );
  const includes = [...headers.map((header) => `#include <${header}>`), ...more];
  const source = `#define _GNU_SOURCE\n${includes.join("\n")}\nint main(void) {\n${prints.join("\n")}\n  return 0;\n}\n`;
  return withFolder((folder) => {
    const [file, binary] = [join(folder, "ask.c"), join(folder, "ask")];
    writeFileSync(file, source);
    output("gcc", "-w", "-o", binary, file);
    const lines = output(binary).trim().split("\n");
    return Object.fromEntries(
      lines.map((line) => {
        const [name = "", value] = line.split(" ");
        return [name, Number(value)];
      }),
    ) as Record<Name, number>;
  });
}
