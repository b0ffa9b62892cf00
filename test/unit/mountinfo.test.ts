import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MountTable } from "../../src/linux/mountinfo.ts";
import { utf8 } from "../../src/linux/text.ts";

const parsed = (...lines: readonly string[]) => new MountTable(utf8(`${lines.join("\n")}\n`)).all();

test("a line of a real table", () => {
  const line =
    "97 31 0:40 /@docker /var/lib/docker rw,noatime shared:50 - btrfs /dev/vdb rw,compress=zstd:1,subvol=/@docker";
  expect(parsed(line)).toEqual([
    {
      id: 97,
      parentId: 31,
      device: "0:40",
      root: "/@docker",
      path: "/var/lib/docker",
      options: ["rw", "noatime"],
      type: "btrfs",
      source: "/dev/vdb",
      superOptions: ["rw", "compress=zstd:1", "subvol=/@docker"],
    },
  ]);
});

describe("escapes of fs/seq_file.c are resolved", () => {
  test.each([
    ["a space", "/a\\040b", "/a b"],
    ["a tab", "/a\\011b", "/a\tb"],
    ["a newline", "/a\\012b", "/a\nb"],
    ["a backslash", "/a\\134b", "/a\\b"],
    ["a hash, as in an overlay's source", "/a\\043b", "/a#b"],
    ["an escaped backslash in front of digits", "/a\\134040b", "/a\\040b"],
    ["several in a row", "\\040\\040\\011", "  \t"],
    ["UTF-8 as it is", "/Größe/数据", "/Größe/数据"],
    ["UTF-8 that is escaped byte by byte", "/\\303\\274", "/ü"],
    ["a backslash without three digits", "/a\\04", "/a\\04"],
    ["a backslash at the end", "/a\\", "/a\\"],
    ["no byte has such a number", "/a\\777", "/a\\777"],
    ["no octal digits", "/a\\089", "/a\\089"],
  ] as const)("%s", (_what, field, expected) => {
    const [mount] = parsed(`1 0 0:1 ${field} ${field} rw - t ${field} rw`);
    expect([mount?.root, mount?.path, mount?.source]).toEqual([expected, expected, expected]);
  });

  test("any path that the kernel escapes comes back as it was", () => {
    const escaped = (path: string): string =>
      path.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
    const piece = fc.string({
      unit: fc.constantFrom("a", " ", "\t", "\n", "\\", "0", "4", "ü", "-"),
    });
    fc.assert(
      fc.property(piece, piece, (path, source) => {
        const [mount] = parsed(`1 0 0:1 / /${escaped(path)} rw shared:1 - t ${escaped(source)} rw`);
        expect([mount?.path, mount?.source]).toEqual([`/${path}`, source]);
      }),
    );
  });
});

describe("fields that vary", () => {
  test.each([
    ["none", ""],
    ["one", "shared:1 "],
    ["three", "shared:1 master:2 propagate_from:3 "],
    ["one of a kernel to come", "unbindable x-new:9 "],
  ] as const)("any number of tags: %s", (_what, tags) => {
    const [mount] = parsed(`1 0 0:1 / /mnt rw ${tags}- btrfs /dev/vdb rw`);
    expect(mount).toMatchObject({ options: ["rw"], type: "btrfs", source: "/dev/vdb" });
  });

  test("a dash as a name is not the one that ends the tags", () => {
    const [mount] = parsed("1 0 0:1 - - - - t - rw");
    expect(mount).toMatchObject({ root: "-", path: "-", options: ["-"], type: "t", source: "-" });
  });

  test("an empty source stays empty, and does not move the options", () => {
    const [mount] = parsed("1 0 0:1 / /mnt rw - tmpfs  rw,size=1k");
    expect(mount).toMatchObject({ type: "tmpfs", source: "", superOptions: ["rw", "size=1k"] });
  });

  test("a root that was deleted is shown as the kernel shows it", () => {
    const [mount] = parsed("1 0 0:1 /@docker//deleted /mnt rw - btrfs /dev/vdb rw");
    expect(mount?.root).toBe("/@docker//deleted");
  });

  test("a whole table keeps its order, with or without a newline at its end", () => {
    const lines = [
      "1 0 0:1 / / rw - t s rw",
      "2 1 0:2 / /a rw - t s rw",
      "3 1 0:3 / /b rw - t s ro",
    ];
    expect(parsed(...lines).map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(new MountTable(utf8(lines.join("\n"))).all()).toEqual(parsed(...lines));
    expect(new MountTable(new Uint8Array(0)).all()).toEqual([]);
  });
});

describe("a line that is not of its form throws", () => {
  test.each([
    ["no dash", "1 0 0:1 / /mnt rw shared:1 btrfs /dev/vdb rw"],
    ["nothing behind the dash", "1 0 0:1 / /mnt rw -"],
    ["no options", "1 0 0:1 / /mnt - btrfs /dev/vdb rw"],
    ["one field", "1"],
    ["an empty line in between", "1 0 0:1 / / rw - t s rw\n\n2 0 0:1 / / rw - t s rw"],
  ] as const)("%s", (_what, line) => {
    expect(() => parsed(line)).toThrow(SyntaxError);
  });
});
