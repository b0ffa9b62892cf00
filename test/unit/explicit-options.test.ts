import { describe, expect, test } from "bun:test";
import { parseVolume } from "../../src/cli/arguments.ts";
import { expectRefused } from "./support/refused.ts";

describe("what was typed is what is used", () => {
  test("a value with a line break, given behind =, is whole", () => {
    expect(parseVolume("up", ["--root=/srv/a\nb"]).options.root).toBe("/srv/a\nb");
  });

  test("of an option that is given twice the last counts", () => {
    expect(parseVolume("up", ["--root=/a", "--root", "/b"]).options.root).toBe("/b");
    expect(parseVolume("up", ["--root", "/a", "--root=/b"]).options.root).toBe("/b");
  });

  test("a slash at the end of a path is not part of it", () => {
    expect(parseVolume("up", ["--root", "/srv/a//"]).options.root).toBe("/srv/a");
    expect(parseVolume("up", ["--root", "/"]).options.root).toBe("/");
  });

  test.each([
    ["a switch with a value", ["--cover=false"], "--cover"],
    ["a path that is not UTF-8", ["--root", "/srv/\ufffd"], "--root"],
    ["a label that is not UTF-8", ["--device", "label=\ufffd"], "label= is not UTF-8"],
  ])("%s is refused", (_, argv, name) => {
    expectRefused(() => parseVolume("up", argv), "usage", name);
  });
});
