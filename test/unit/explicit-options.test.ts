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

  test("bytes that are no UTF-8, and the character that others put for them, are whole", () => {
    for (const odd of ["\udcff", "\ufffd"]) {
      expect(parseVolume("up", ["--root", `/srv/${odd}`]).options.root).toBe(`/srv/${odd}`);
      expect(parseVolume("up", ["--device", `label=${odd}`]).options.device).toBe(`label=${odd}`);
    }
  });

  test("a switch with a value is refused", () => {
    expectRefused(() => parseVolume("up", ["--cover=false"]), "usage", "--cover");
  });

  test("what is quoted of them shows each byte", () => {
    const argv = ["--image", "/x", "--size", "1\udcff"];
    expectRefused(() => parseVolume("up", argv), "usage", String.raw`--size "1\xff"`);
  });
});
