import { describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { tool, tryCommand } from "../kit/command.ts";
import { sanitized, sanitizedPackage, sanitizerLibrary } from "../kit/sanitized.ts";
import { lackingCompiler } from "../unit/support/c-program.ts";
import { describeWhere } from "../unit/support/gate.ts";

/** The first time the whole engine is compiled. */
const buildLimitMs = 600_000;

const checks = join(import.meta.dir, "arguments.js");
const variables = { ARCBOX_TEST: "€" };

/** Runs a program that says how many checks it made; nothing stands on its standard error. */
async function expectChecks(command: readonly string[], more: Record<string, string> = {}) {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH, ...variables, ...more },
  });
  const said = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const [out, errors] = said;
  expect({ errors, status: await child.exited }).toEqual({ errors: "", status: 0 });
  // Some 25,000; by how much they vary is what one engine refuses and another takes.
  expect(Number(/^(\d+) checks\n$/.exec(out)?.[1])).toBeGreaterThan(25_000);
}

describe("wrong arguments are TypeErrors, right ones do what they say", () => {
  test("in Node", () => expectChecks([tool("node"), checks]));
  test("in Bun", () => expectChecks([process.execPath, checks]));
});

describeWhere(lackingCompiler(), "under the address and undefined-behaviour sanitizers", () => {
  test(
    "wrong arguments in QuickJS touch no memory, and nothing leaks",
    async () => {
      const sources = ["native/seam.c", "native/quickjs-module.c", "test/native/host.c"];
      const host = await sanitized("host", sources, true);
      await expectChecks([host, checks, "a word"]);
    },
    buildLimitMs,
  );

  test(
    "wrong arguments in Node touch no memory",
    async () => {
      const root = await sanitizedPackage();
      const copy = join(root, "test", "arguments.js");
      mkdirSync(join(root, "test"), { recursive: true });
      copyFileSync(checks, copy);
      await expectChecks([tool("node"), copy], {
        LD_PRELOAD: sanitizerLibrary(),
        // Node leaves what it has to the kernel when it ends.
        ASAN_OPTIONS: "detect_leaks=0",
      });
    },
    buildLimitMs,
  );

  test(
    "the allocator keeps its promises under a random workload, and when there is no memory",
    async () => {
      const ours = ["native/memory.c", "native/snapshot-empty.c"];
      const program = await sanitized("memory", [...ours, "test/native/memory-workload.c"], false);
      expect(tryCommand(program)).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    },
    buildLimitMs,
  );
});
