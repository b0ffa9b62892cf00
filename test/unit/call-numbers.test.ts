import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { numbersOfCalls } from "../../src/linux/calls/numbers.ts";
import { inC, lackingCompiler } from "./support/c-program.ts";
import { describeWhere } from "./support/gate.ts";

const x64Header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
const arm64Header = "/usr/include/asm-generic/unistd.h";

function lackingHeaders(): string | null {
  const missing = [x64Header, arm64Header].find((path) => !existsSync(path));
  return missing === undefined ? lackingCompiler() : `${missing} (linux-libc-dev)`;
}

const names = Object.keys(numbersOfCalls) as (keyof typeof numbersOfCalls)[];
const column = (i: 0 | 1) =>
  Object.fromEntries(names.map((name) => [name, numbersOfCalls[name][i]]));

/** The macros that a 64-bit program sees when arm64's header is included on whatever machine this is. */
const asArm64 = [
  "#undef __BITS_PER_LONG",
  "#define __BITS_PER_LONG 64",
  "#define __ARCH_WANT_RENAMEAT",
  "#define __ARCH_WANT_NEW_STAT",
  "#define __ARCH_WANT_SET_GET_RLIMIT",
];

describeWhere(lackingHeaders(), "the number of each call is the kernel's own", () => {
  const expressions = Object.fromEntries(names.map((name) => [name, `__NR_${name}`]));
  const inHeader = (header: string, ...before: readonly string[]) =>
    inC(expressions, ["stdio.h"], [...before, `#include "${header}"`]);

  test("on x86-64", () => {
    expect(inHeader(x64Header)).toEqual(column(0));
  });
  test("on arm64", () => {
    expect(inHeader(arm64Header, ...asArm64)).toEqual(column(1));
  });
});

describe("the table", () => {
  test("has no number twice", () => {
    for (const i of [0, 1] as const) {
      expect(new Set(Object.values(column(i))).size).toBe(names.length);
    }
  });
});
