import { describe, expect, test } from "bun:test";
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from "../../src/btrfs/ioctls.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import { O_DIRECTORY } from "../../src/linux/kernel.ts";
import type { Layout } from "../../src/volume/layout.ts";
import {
  applyNocow,
  decideNocow,
  lookAtNocow,
  type NocowPlace,
  planNocow,
} from "../../src/volume/nocow.ts";
import { fakeKernel, fileStatus } from "./support/fake-kernel.ts";

/** FS_NOCOW_FL, FS_COMPR_FL, FS_NOCOMP_FL and FS_NOATIME_FL of linux/fs.h */
const nocow = 0x0080_0000;
const compressed = 0x4;
const neverCompressed = 0x400;
const noAccessTimes = 0x80;
const other = 0x7fffffff & ~(nocow | compressed | neverCompressed);

describe("the flag is set only where it is missing, and taken off only where it is", () => {
  const directory = { kind: "directory", isInherited: false } as const;
  const file = { kind: "file", isInherited: false } as const;
  const plain = { kind: "plain", isInherited: false } as const;
  const inside = { kind: "plain", isInherited: true } as const;
  test.each([
    ["no directory", directory, null, "create"],
    ["a directory without a flag", directory, { flags: 0, isEmpty: false }, "set"],
    ["a directory with other flags only", directory, { flags: other, isEmpty: false }, "set"],
    ["a directory with the flag", directory, { flags: nocow, isEmpty: false }, "kept"],
    ["… among others", directory, { flags: nocow | 0x10, isEmpty: false }, "kept"],
    [
      "a directory that is compressed",
      directory,
      { flags: compressed, isEmpty: false },
      "compressed",
    ],
    ["an empty file that never is", file, { flags: neverCompressed, isEmpty: true }, "compressed"],
    ["no file", file, null, "create"],
    ["an empty file without it", file, { flags: 0, isEmpty: true }, "set"],
    ["a file that holds something without it", file, { flags: 0, isEmpty: false }, "full"],
    ["a file with it", file, { flags: nocow, isEmpty: false }, "kept"],
    ["no directory, where none has to be", plain, null, "absent"],
    ["no directory inside a NOCOW one", inside, null, "create"],
    [
      "a directory that should not have it and has",
      plain,
      { flags: nocow, isEmpty: false },
      "clear",
    ],
    ["… inside a NOCOW one", inside, { flags: nocow, isEmpty: false }, "clear"],
    [
      "a directory that should not have it and has not",
      plain,
      { flags: other, isEmpty: false },
      "kept",
    ],
  ] as const)("%s", (_what, place, found, action) => {
    expect(decideNocow(place, found)).toBe(action);
  });
});

const layout: Layout = {
  label: "l",
  rawPath: "/raw",
  options: "",
  mkfs: { nodesize: 16384 },
  entries: [
    {
      subvolume: "@a",
      path: "/a",
      noCopyOnWrite: ["one", "two/deep"],
      noCopyOnWriteFiles: ["files/meta.db"],
      copyOnWrite: ["one/blobs", "old"],
    },
    {
      subvolume: "@b",
      path: "/b",
      noCopyOnWrite: ["three"],
      noCopyOnWriteFiles: [],
      copyOnWrite: [],
    },
  ],
};

interface Node {
  flags: number;
  readonly kind: "directory" | "file";
  readonly sizeBytes: number;
}

interface Breakage {
  readonly open?: Readonly<Record<string, number>>;
  readonly mkdir?: number;
  readonly set?: number;
  readonly setDoesNothing?: boolean;
}

/** A volume in memory: names by path, some calls made to fail. What is made takes its directory's flag. */
function volume(given: Record<string, Partial<Node>>, broken: Breakage = {}) {
  const empty: Node = { flags: 0, kind: "directory", sizeBytes: 0 };
  const all = new Map<string, Node>(["@a", "@b"].map((path) => [path, { ...empty }]));
  for (const [path, node] of Object.entries(given)) all.set(path, { ...empty, ...node });
  const open = new Map<number, string>();
  const calls: string[] = [];
  let next = 10;
  const at = (fd: number): Node => all.get(open.get(fd) ?? "") ?? { ...empty };
  const add = (path: string): number => {
    open.set(next, path);
    return next++;
  };
  const made = (fd: number, name: string, kind: Node["kind"]): string => {
    const path = `${open.get(fd)}/${name}`;
    all.set(path, { ...empty, kind, flags: at(fd).flags & nocow });
    return path;
  };
  const kernel = fakeKernel({
    openBeneath(fd, given, flags, _resolve, mode) {
      const procPath = /^\/proc\/self\/fd\/(\d+)$/.exec(given);
      const path = procPath === null ? given : (open.get(Number(procPath[1])) ?? "");
      if (mode !== undefined) {
        const file = made(fd, path, "file");
        calls.push(`create ${file} ${mode.toString(8)}`);
        return add(file);
      }
      const node = all.get(path);
      if (node === undefined || broken.open?.[path] !== undefined) {
        throw new SystemError("openat2", broken.open?.[path] ?? Errno.ENOENT);
      }
      if ((flags & O_DIRECTORY) !== 0 && node.kind !== "directory") {
        throw new SystemError("openat2", Errno.ENOTDIR);
      }
      return add(path);
    },
    open: (path) => add(open.get(Number(path.replace(/^\D+/, ""))) ?? ""),
    close(fd) {
      if (!open.delete(fd)) throw new Error(`${fd} is not open`);
    },
    statx(fd) {
      const { kind, sizeBytes } = at(fd);
      return fileStatus({ mode: kind === "file" ? 0o100600 : 0o040700, sizeBytes });
    },
    readDirectory(fd, atLeast = Number.POSITIVE_INFINITY) {
      const prefix = `${open.get(fd)}/`;
      return [...all.keys()]
        .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/"))
        .map((path) => path.slice(prefix.length))
        .slice(0, atLeast);
    },
    mkdirat(fd, name, mode) {
      if (broken.mkdir !== undefined) throw new SystemError("mkdirat", broken.mkdir);
      calls.push(`mkdir ${made(fd, name, "directory")} ${mode.toString(8)}`);
    },
    ioctl(fd, request, argument) {
      if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
      const view = new DataView(argument.buffer, argument.byteOffset);
      if (request === FS_IOC_GETFLAGS) {
        view.setUint32(0, at(fd).flags, true);
        return 0;
      }
      expect(request).toBe(FS_IOC_SETFLAGS);
      if (broken.set !== undefined) throw new SystemError("ioctl", broken.set);
      const flags = view.getUint32(0, true);
      calls.push(`flags ${open.get(fd)} ${flags.toString(16)}`);
      if (broken.setDoesNothing !== true) at(fd).flags = flags;
      return 0;
    },
  });
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  return {
    calls,
    notes,
    flagsOf: (path: string) => all.get(path)?.flags,
    look: () => lookAtNocow(kernel, 5, layout, note),
    apply: (found: readonly NocowPlace[]) => applyNocow(kernel, 5, found, layout, note),
    descriptorsLeft: () => open.size,
  };
}

const flagged = { flags: nocow };
const file = { kind: "file" } as const;
const allRight = {
  "@a/one": flagged,
  "@a/one/blobs": {},
  "@a/two": {},
  "@a/two/deep": flagged,
  "@a/files": {},
  "@a/files/meta.db": { ...file, ...flagged, sizeBytes: 65_536 },
  "@b/three": flagged,
};

describe("the places of a layout", () => {
  test("all as they should be: kept, and not one call that writes", () => {
    const { look, apply, calls, notes, descriptorsLeft } = volume(allRight);
    const found = look();
    expect(planNocow(found, layout)).toEqual({
      outcome: "kept",
      detail: "4 of 4 databases NOCOW",
    });
    expect(apply(found)).toEqual(planNocow(found, layout));
    expect([calls, notes, descriptorsLeft()]).toEqual([[], [], 0]);
  });

  test("all missing: made for root alone, flagged, and so is what plan said", () => {
    const { look, apply, calls, notes, descriptorsLeft, flagsOf } = volume({});
    const found = look();
    const planned = planNocow(found, layout);
    expect(planned).toEqual({
      outcome: "changed",
      detail: "4 of 4 databases NOCOW, 4 of them now",
    });
    expect(apply(found)).toEqual(planned);
    expect(calls).toEqual([
      "mkdir @a/one 700",
      "flags @a/one 800000",
      "mkdir @a/two 700",
      "mkdir @a/two/deep 700",
      "flags @a/two/deep 800000",
      "mkdir @a/one/blobs 700",
      "flags @a/one/blobs 0",
      "mkdir @a/files 700",
      "create @a/files/meta.db 600",
      "flags @a/files/meta.db 800000",
      "mkdir @b/three 700",
      "flags @b/three 800000",
    ]);
    // What has to be there only to be without the flag is not made where nothing is inherited.
    expect(flagsOf("@a/old")).toBeUndefined();
    expect([notes, descriptorsLeft()]).toEqual([[], 0]);
  });

  test("of a filesystem still to be made: all will be made", () => {
    expect(planNocow(null, layout)).toEqual(planNocow(volume({}).look(), layout));
  });

  test("one without the flag gets it beside the flags it has", () => {
    const { look, apply, calls } = volume({ ...allRight, "@a/one": { flags: noAccessTimes } });
    expect(apply(look()).outcome).toBe("changed");
    expect(calls).toEqual(["flags @a/one 800080"]);
  });

  test("files that were there before the flag keep copy-on-write, and the report says so", () => {
    const { look, apply, notes } = volume({ ...allRight, "@a/one": {}, "@a/one/meta.db": file });
    expect(apply(look()).outcome).toBe("changed");
    expect(notes).toEqual([expect.stringMatching(/@a\/one.*keep copy-on-write/)]);
  });

  test("files in a directory that has the flag are no news", () => {
    const { look, apply, notes } = volume({
      ...allRight,
      "@a/one/meta.db": { ...file, ...flagged },
    });
    expect(apply(look()).outcome).toBe("kept");
    expect(notes).toEqual([]);
  });

  test("an empty file gets the flag, one that holds something is left and told", () => {
    const empty = volume({ ...allRight, "@a/files/meta.db": file });
    expect(empty.apply(empty.look())).toEqual({
      outcome: "changed",
      detail: "4 of 4 databases NOCOW, 1 of them now",
    });
    expect(empty.notes).toEqual([]);
    const full = volume({ ...allRight, "@a/files/meta.db": { ...file, sizeBytes: 1 } });
    expect(full.apply(full.look())).toEqual({ outcome: "kept", detail: "3 of 4 databases NOCOW" });
    expect(full.calls).toEqual([]);
    expect(full.notes).toEqual([expect.stringMatching(/@a\/files\/meta\.db.*chattr \+C/)]);
  });

  test("a directory where a file should be is left alone, with a note", () => {
    const { look, apply, calls, notes } = volume({ ...allRight, "@a/files/meta.db": {} });
    expect(apply(look()).outcome).toBe("kept");
    expect(calls).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/@a\/files\/meta\.db.*EISDIR/)]);
  });
});

describe("a directory that should not be NOCOW", () => {
  const hex = "ab".repeat(32);
  const old = {
    ...allRight,
    "@a/old": flagged,
    "@a/old/snapshots": flagged,
    "@a/old/snapshots/1": flagged,
    "@a/old/snapshots/1/fs": flagged,
    "@a/old/snapshots/2": {},
    "@a/old/blobs": flagged,
    "@a/old/blobs/sha256": flagged,
    [`@a/old/blobs/sha256/${hex}`]: { ...file, ...flagged },
  };

  test("and what new things are made in below it lose the flag, the deepest first; layers and blobs keep it", () => {
    const { look, apply, calls, notes, descriptorsLeft } = volume(old);
    const found = look();
    expect(apply(found)).toEqual(planNocow(found, layout));
    expect(planNocow(found, layout)).toEqual({
      outcome: "changed",
      detail: "4 of 4 databases NOCOW, the flag taken off 1 directories of something else",
    });
    expect(calls).toEqual([
      "flags @a/old/blobs/sha256 0",
      "flags @a/old/blobs 0",
      "flags @a/old/snapshots 0",
      "flags @a/old 0",
    ]);
    expect(notes).toEqual([expect.stringMatching(/^2 layers, blobs and files.*@a\/old/)]);
    expect(descriptorsLeft()).toBe(0);
  });

  test("that was left half done is found again, and the next time there is nothing to do", () => {
    const { look, apply, calls } = volume({ ...old, "@a/old/blobs": {} });
    apply(look());
    expect(calls.at(-1)).toBe("flags @a/old 0");
    expect(apply(look()).outcome).toBe("kept");
  });

  test("inside one that is keeps its own way", () => {
    const { look, apply, calls } = volume({ ...allRight, "@a/one/blobs": flagged });
    expect(apply(look()).outcome).toBe("changed");
    expect(calls).toEqual(["flags @a/one/blobs 0"]);
  });

  test("with a hundred thousand names takes no longer for them", () => {
    const many = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, i) => [`@a/old/file${i}`, { ...file, ...flagged }]),
    );
    const { look, apply, notes } = volume({ ...allRight, "@a/old": flagged, ...many });
    apply(look());
    expect(notes).toEqual([expect.stringMatching(/^at least 4096 /)]);
  });
});

describe("a failure is a note, for a volume that is full must come up", () => {
  test("no space for a directory", () => {
    const { look, apply, notes, descriptorsLeft } = volume({}, { mkdir: Errno.ENOSPC });
    expect(apply(look())).toEqual({ outcome: "kept", detail: "0 of 4 databases NOCOW" });
    expect(notes).toHaveLength(5);
    expect(notes[0]).toMatch(/@a\/one.*ENOSPC/);
    expect(descriptorsLeft()).toBe(0);
  });

  test("no space for a flag", () => {
    const { look, apply, notes, descriptorsLeft } = volume(
      { ...allRight, "@b/three": {} },
      { set: Errno.ENOSPC },
    );
    expect(apply(look())).toEqual({ outcome: "kept", detail: "3 of 4 databases NOCOW" });
    expect(notes).toEqual([expect.stringMatching(/@b\/three.*ENOSPC/)]);
    expect(descriptorsLeft()).toBe(0);
  });

  test("a flag that does not read back is not reported as set", () => {
    const { look, apply, notes } = volume(
      { ...allRight, "@b/three": {} },
      { setDoesNothing: true },
    );
    expect(apply(look()).outcome).toBe("kept");
    expect(notes).toEqual([expect.stringContaining("@b/three")]);
  });

  test("a place that cannot be looked at is left alone, and the others are not", () => {
    const { look, apply, notes } = volume(
      { ...allRight, "@b/three": {} },
      { open: { "@a/one": Errno.ELOOP } },
    );
    expect(look().map(({ path }) => path)).not.toContain("@a/one");
    expect(notes).toEqual([expect.stringMatching(/@a\/one could.*ELOOP/)]);
    expect(apply(look())).toEqual({
      outcome: "changed",
      detail: "3 of 4 databases NOCOW, 1 of them now",
    });
  });
});
