import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, normalize } from "node:path";

/** Imports lead one way: main, cli, volume, btrfs, linux, and from there alone to the C (`#native`). */
const rooms = ["main.ts", "cli", "volume", "btrfs", "linux"];

const project = join(import.meta.dir, "..", "..");

/** What a file imports: at its top, when it runs, as a type, or by `require`. */
const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\()"([^"]+)"/g)].map(
    ([, name = ""]) => name,
  );

/** How deep a path below src/ lies: 0 is the way in. */
function depthOf(path: string): number {
  const [room = ""] = path.split("/");
  const depth = rooms.indexOf(room);
  if (depth < 0) throw new Error(`src/${room} has no place among ${rooms.join(", ")}`);
  return depth;
}

/** What a file below src/ imports against the direction. */
function against(path: string, text: string): string[] {
  const depth = depthOf(path);
  return importsOf(text).filter((name) => {
    if (name === "#native") return depth !== depthOf("linux");
    if (!name.startsWith(".")) return false;
    const target = normalize(join(path, "..", name));
    // package.json has the version, and lies beside src/.
    return !target.startsWith("..") && depthOf(target) < depth;
  });
}

test("no file below src/ imports from a folder above its own", () => {
  const files = [...new Bun.Glob("**/*.ts").scanSync({ cwd: join(project, "src") })];
  expect(files.length).toBeGreaterThan(100);
  const wrong = files.flatMap((path) =>
    against(path, readFileSync(join(project, "src", path), "utf8")).map((name) => [path, name]),
  );
  expect(wrong).toEqual([]);
});

test.each([
  ["linux/files.ts", 'import { print } from "../cli/terminal.ts";'],
  ["btrfs/trim.ts", 'import type { Report } from "../volume/report.ts";'],
  ["volume/up.ts", 'export {\n  json,\n} from "../cli/render.ts";'],
  ["volume/up.ts", 'const { json } = await import("../cli/render.ts");'],
  [
    "volume/up.ts",
    'const { json } = require("../cli/render.ts") as typeof import("../cli/render.ts");',
  ],
  ["linux/calls/numbers.ts", 'import "../../main.ts";'],
  ["volume/up.ts", 'import { syscall } from "#native";'],
])("in %s it would be seen: %s", (path, text) => {
  expect(against(path, text)).not.toBeEmpty();
});

test("what leads downward passes", () => {
  expect(against("cli/run.ts", 'import { Errno } from "../linux/errno.ts";')).toEqual([]);
  expect(against("linux/files.ts", 'import { syscall } from "#native";')).toEqual([]);
});
