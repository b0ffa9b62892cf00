import { afterAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What runs on QuickJS as well as in Node and Bun: `npm run check` finds what only one of them has. */

const project = join(import.meta.dir, "..", "..");
const scratch = mkdtempSync(join(tmpdir(), "arcbox-source-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const program = (name: string): string => join(project, "node_modules", ".bin", name);

/** What the linter, set up as it is here, says of a file with this text below src/. */
function lint(text: string): string {
  const folder = join(scratch, "lint");
  mkdirSync(join(folder, "src"), { recursive: true });
  copyFileSync(join(project, "biome.json"), join(folder, "biome.json"));
  writeFileSync(join(folder, "src", "planted.ts"), text);
  const words = [program("biome"), "lint", "--error-on-warnings"];
  const { exitCode, stdout, stderr } = Bun.spawnSync(words, { cwd: folder });
  return exitCode === 0 ? "" : stdout.toString() + stderr.toString();
}

/** What the compiler says of all that is below src/ with this beside it. */
function errorsWith(text: string): string {
  writeFileSync(join(scratch, "planted.ts"), text);
  const config = {
    extends: join(project, "src/tsconfig.json"),
    exclude: [],
    include: [join(project, "src"), "."],
  };
  writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify(config));
  const { stdout } = Bun.spawnSync([program("tsc"), "--noEmit", "-p", scratch], { cwd: project });
  return stdout.toString();
}

describe("below src/", () => {
  test.each([
    'import "bun:ffi";',
    'import { file } from "bun";\nfile("/x");',
    'import { readFileSync } from "node:fs";\nreadFileSync("/x");',
    'import { readFileSync } from "fs";\nreadFileSync("/x");',
    'export const late = await import("node:fs");',
    'export const late = await import("bun");',
  ])("the linter refuses %j", (text) => {
    expect(lint(text)).toMatch(/noNodejsModules|noRestrictedImports/);
  });

  const globals = [
    "Bun",
    "process",
    "Buffer",
    "console",
    "setTimeout",
    "TextEncoder",
    "fetch",
    "crypto",
    "require.main",
  ];
  test("the compiler knows nothing that only a host has", () => {
    const lines = globals.map((name, i) => `export const value${i} = ${name};`);
    const errors = errorsWith(`${lines.join("\n")}\n`);
    globals.forEach((_, i) => {
      expect(errors).toContain(`planted.ts(${i + 1},`);
    });
  });

  test("all else passes", () => {
    const text = 'import { encode } from "#native";\nexport const bytes = encode("a");\n';
    expect(lint(text)).toBe("");
    expect(errorsWith(text)).toBe("");
  });
});
