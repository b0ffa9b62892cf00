import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { layoutSchema } from "../../scripts/layout-schema/schema.ts";
import { VolumeError } from "../../src/volume/error.ts";
import { defaultLayout } from "../../src/volume/layout.ts";
import { layoutFileOf, parseLayout } from "../../src/volume/layout-file.ts";
import { badLayouts } from "../kit/bad-layouts.ts";

const docs = join(import.meta.dir, "..", "..", "docs");
const one = { name: "@one", path: "/srv/one" };
const parse = (data: unknown) => parseLayout(JSON.stringify(data), "layout.json");

function refusal(text: string): VolumeError {
  try {
    parseLayout(text, "layout.json");
  } catch (error) {
    if (error instanceof VolumeError) return error;
    throw error;
  }
  throw new Error("it was taken");
}

describe("refuses, naming the place in the file:", () => {
  // What the text alone cannot show (bytes that are no text, the size of the file) is for the
  // reader of the file: see test/kernel/layout.test.ts.
  const ofText = badLayouts.filter(
    ({ text, named }) => typeof text === "string" && !named.source.includes("MiB"),
  );
  test.each(ofText.map((row) => [row.what, row] as const))("%s", (_, { text, named }) => {
    const error = refusal(String(text));
    expect(error.code).toBe("layout");
    expect(error.message).toStartWith("the layout layout.json: ");
    expect(error.message).toMatch(named);
    expect(error.message.length).toBeLessThan(6000);
    expect(error.hint).toContain("docs/layouts.md");
  });
});

describe("takes", () => {
  test.each<[string, Record<string, unknown>]>([
    ["a name of 255 bytes", { name: "n".repeat(255) }],
    ["a name of three dots", { name: "..." }],
    ["a name in any script", { name: "@数据 ö" }],
    ["a path with spaces and backslashes", { path: "/srv/with space\\040" }],
    ["a path with dots in its names", { path: "/srv/.hidden/..x/y.." }],
    ["NOCOW directories with dots in their names", { nocow: [".a/..b", "c.."] }],
  ])("%s", (_, change) => {
    const entry = { ...one, ...change };
    expect(parse({ subvolumes: [entry] }).entries[0]).toEqual({
      subvolume: entry.name,
      path: entry.path,
      noCopyOnWrite: "nocow" in change ? (change.nocow as string[]) : [],
      noCopyOnWriteFiles: [],
      copyOnWrite: [],
    });
  });

  test("single files beside directories, and directories that keep copy-on-write", () => {
    const nocow = ["db", { file: "deep/meta.db" }, "other", { file: "db.sql" }];
    const entry = { ...one, nocow, cow: ["db/blobs", "old"] };
    expect(parse({ subvolumes: [entry] }).entries[0]).toEqual({
      subvolume: one.name,
      path: one.path,
      noCopyOnWrite: ["db", "other"],
      noCopyOnWriteFiles: ["deep/meta.db", "db.sql"],
      copyOnWrite: ["db/blobs", "old"],
    });
  });

  test("neighbours of which one's name begins with the other's", () => {
    const layout = parse({ subvolumes: [one, { name: "@two", path: "/srv/one-more" }] });
    expect(layout.entries).toHaveLength(2);
  });

  test("no mount options at all", () => {
    expect(parse({ options: [], subvolumes: [one] }).options).toBe("");
  });

  test("128 subvolumes", () => {
    const subvolumes = Array.from({ length: 128 }, (_, i) => ({ name: `@${i}`, path: `/s/${i}` }));
    expect(parse({ subvolumes }).entries).toHaveLength(128);
  });
});

test("what is left out is as in the built-in layout", () => {
  const { label, rawPath, options, mkfs } = parse({ subvolumes: [one] });
  const { entries: _, ...rest } = defaultLayout;
  expect({ label, rawPath, options, mkfs }).toEqual(rest);
});

test("the built-in layout, written as a file, is itself", () => {
  expect(parse(layoutFileOf(defaultLayout))).toEqual(defaultLayout);
});

test("docs/layout.schema.json is what the program checks (bun scripts/layout-schema.ts)", () => {
  const committed: unknown = JSON.parse(readFileSync(join(docs, "layout.schema.json"), "utf8"));
  expect(committed).toEqual(JSON.parse(layoutSchema()));
});

const examples = readdirSync(join(docs, "layouts")).filter((name) => name.endsWith(".json"));

test("there are worked examples", () => {
  expect([...examples].sort()).toEqual(["nerdctl.json", "podman.json"]);
});

test.each(examples)("the worked example %s is a layout, and the guide names it", (name) => {
  const layout = parseLayout(readFileSync(join(docs, "layouts", name), "utf8"), name);
  expect(layout.label).not.toBe(defaultLayout.label);
  expect(layout.rawPath).not.toBe(defaultLayout.rawPath);
  const guide = readFileSync(join(docs, "layouts.md"), "utf8");
  expect(guide).toContain(`(layouts/${name})`);
  expect(guide).toContain(readFileSync(join(docs, "layouts", name), "utf8"));
});

test("every JSON in the guide is a layout", () => {
  const guide = readFileSync(join(docs, "layouts.md"), "utf8");
  const blocks = [...guide.matchAll(/```json\n([^`]*)```/g)].map(([, text]) => text ?? "");
  expect(blocks).not.toBeEmpty();
  for (const text of blocks) expect(parseLayout(text, "the guide").entries).not.toBeEmpty();
});
