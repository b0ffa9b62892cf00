import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { linesIn, type Mount } from "../../src/linux/mountinfo.ts";
import { fromUtf8, utf8 } from "../../src/linux/text.ts";

/** Every line of a table that read(2) gives in pieces of at most so many bytes. */
function mountsIn(table: Uint8Array, pieceBytes = Number.POSITIVE_INFINITY): Mount[] {
  let at = 0;
  const read = (buffer: Uint8Array): number => {
    const piece = table.subarray(at, at + Math.min(buffer.length, pieceBytes));
    buffer.set(piece);
    at += piece.length;
    return piece.length;
  };
  const mounts: Mount[] = [];
  for (const line of linesIn({ read, close() {} })) mounts.push(line.mount);
  return mounts;
}

const parsed = (...lines: readonly string[]) => mountsIn(utf8(`${lines.join("\n")}\n`));

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
      peerGroup: 50,
      master: null,
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
    expect(mountsIn(utf8(lines.join("\n")))).toEqual(parsed(...lines));
    expect(mountsIn(new Uint8Array(0))).toEqual([]);
  });

  test("peer groups are told, and a tag of a kernel to come is not taken for one", () => {
    const [mount] = parsed("1 0 0:1 / /mnt rw x-shared:9 shared:1 master:2 - btrfs /dev/vdb rw");
    expect(mount).toMatchObject({ peerGroup: 1, master: 2 });
  });
});

describe("a line that is not of its form throws", () => {
  test.each([
    ["no dash", "1 0 0:1 / /mnt rw shared:1 btrfs /dev/vdb rw"],
    ["nothing behind the dash", "1 0 0:1 / /mnt rw -"],
    ["no options", "1 0 0:1 / /mnt - btrfs /dev/vdb rw"],
    ["one field", "1"],
    ["ids that are no numbers", "x y 0:1 / / rw - t s rw"],
    ["a parent that is no number", "1 y 0:1 / / rw - t s rw"],
    ["an empty line in between", "1 0 0:1 / / rw - t s rw\n\n2 0 0:1 / / rw - t s rw"],
  ] as const)("%s", (_what, line) => {
    expect(() => parsed(line)).toThrow(SyntaxError);
  });
});

describe("what is in a name is no separator", () => {
  test("an option with an escaped comma is one option: a subvolume named a,ro is not read-only", () => {
    const [mount] = parsed(
      "1 0 0:1 /a,ro /mnt rw - btrfs /dev/vdb rw,compress=zstd:1,subvol=/a\\054ro",
    );
    expect(mount?.superOptions).toEqual(["rw", "compress=zstd:1", "subvol=/a,ro"]);
  });

  test.each([
    ["a dash between spaces", "/a\\040-\\040b", "/a - b"],
    ["a line of its own", "/a\\0122\\0401\\0400:1", "/a\n2 1 0:1"],
  ] as const)("%s in a path", (_what, field, path) => {
    const mounts = parsed(`1 0 0:1 ${field} ${field} rw - t s rw`);
    expect(mounts.map((mount) => [mount.id, mount.root, mount.path])).toEqual([[1, path, path]]);
  });

  test("bytes that are no UTF-8 are kept, escaped or not", () => {
    const table = Uint8Array.of(...utf8("1 0 0:1 / /\\377"), 0xfe, ...utf8(" rw - t s rw\n"));
    const [mount] = mountsIn(table);
    expect([...utf8(mount?.path ?? "")]).toEqual([0x2f, 0xff, 0xfe]);
    expect(fromUtf8(Uint8Array.of(0x2f, 0xff, 0xfe))).toBe(mount?.path ?? "");
  });
});

describe("a table is read in pieces", () => {
  const lines = Array.from(
    { length: 200 },
    (_, i) => `${i} 0 0:1 / /mnt/${"x".repeat((i * 37) % 900)}\\040${i} rw shared:${i} - t s rw`,
  );

  test.each([1, 2, 3, 7, 63, 1000, 16_384])("of at most %d bytes, and none is lost", (bytes) => {
    const table = utf8(`${lines.join("\n")}\n`);
    expect(mountsIn(table, bytes)).toEqual(parsed(...lines));
  });

  test("a line may be longer than a piece", () => {
    const name = "\\134".repeat(4095);
    const [first, second] = parsed(
      `1 0 0:1 /${name} /${name} rw - t s rw`,
      "2 1 0:1 / / rw - t s rw",
    );
    expect([first?.path.length, second?.id]).toEqual([4096, 2]);
  });

  test("a line without an end is an error, not all of the memory", () => {
    const endless = (buffer: Uint8Array): number => buffer.fill(0x61).length;
    expect(() => linesIn({ read: endless, close() {} }).next()).toThrow(RangeError);
  });
});
