import { describe, expect, test } from "bun:test";
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from "../../src/btrfs/ioctls.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import type { Layout } from "../../src/volume/layout.ts";
import {
  applyNocow,
  decideNocow,
  lookAtNocow,
  type NocowDirectory,
  planNocow,
} from "../../src/volume/nocow.ts";
import { fakeKernel } from "./support/fake-kernel.ts";

/** FS_NOCOW_FL and FS_COMPR_FL of linux/fs.h */
const nocow = 0x0080_0000;
const compressed = 4;

describe("the flag is set only where it is missing", () => {
  test.each([
    ["no directory", null, "create"],
    ["no flag", 0, "set"],
    ["other flags only", 0x7fffffff & ~nocow, "set"],
    ["the flag", nocow, "kept"],
    ["the flag among others", nocow | 0x10, "kept"],
  ] as const)("%s", (_what, flags, action) => {
    expect(decideNocow(flags)).toBe(action);
  });
});

const layout: Layout = {
  label: "l",
  rawPath: "/raw",
  options: "",
  mkfs: { nodesize: 16384 },
  entries: [
    { subvolume: "@a", path: "/a", noCopyOnWrite: ["one", "two/deep"] },
    { subvolume: "@b", path: "/b", noCopyOnWrite: ["three"] },
  ],
};

interface Directory {
  flags: number;
  readonly names: readonly string[];
}

/** A volume in memory: directories by path, some calls made to fail. */
function volume(directories: Record<string, Partial<Directory>>, broken: Breakage = {}) {
  const all = new Map<string, Directory>(
    ["@a", "@b"].map((path) => [path, { flags: 0, names: [] }]),
  );
  for (const [path, given] of Object.entries(directories)) {
    all.set(path, { flags: 0, names: [], ...given });
  }
  const open = new Map<number, string>();
  const calls: string[] = [];
  let next = 10;
  const at = (fd: number): Directory => all.get(open.get(fd) ?? "") ?? { flags: 0, names: [] };
  const kernel = fakeKernel({
    openBeneath(_fd, path) {
      if (!all.has(path)) throw new SystemError("openat2", broken.open?.[path] ?? Errno.ENOENT);
      open.set(next, path);
      return next++;
    },
    close(fd) {
      if (!open.delete(fd)) throw new Error(`${fd} is not open`);
    },
    readDirectory: (fd) => [...at(fd).names],
    mkdirat(fd, name, mode) {
      if (broken.mkdir !== undefined) throw new SystemError("mkdirat", broken.mkdir);
      const path = `${open.get(fd)}/${name}`;
      calls.push(`mkdir ${path} ${mode.toString(8)}`);
      all.set(path, { flags: 0, names: [] });
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
      calls.push(`flags ${open.get(fd)} ${view.getUint32(0, true).toString(16)}`);
      if (broken.setDoesNothing !== true) at(fd).flags = view.getUint32(0, true);
      return 0;
    },
  });
  const notes: string[] = [];
  const note = (text: string): void => {
    notes.push(text);
  };
  return {
    calls,
    notes,
    look: () => lookAtNocow(kernel, 5, layout, note),
    apply: (found: readonly NocowDirectory[]) => applyNocow(kernel, 5, found, layout, note),
    descriptorsLeft: () => open.size,
  };
}

interface Breakage {
  readonly open?: Readonly<Record<string, number>>;
  readonly mkdir?: number;
  readonly set?: number;
  readonly setDoesNothing?: boolean;
}

const flagged = { flags: nocow };
const allFlagged = { "@a/one": flagged, "@a/two": {}, "@a/two/deep": flagged, "@b/three": flagged };

describe("the directories of a layout", () => {
  test("all flagged: kept, and not one call that writes", () => {
    const { look, apply, calls, notes, descriptorsLeft } = volume(allFlagged);
    const found = look();
    expect(planNocow(found, layout)).toEqual({
      outcome: "kept",
      detail: "3 of 3 directories flagged",
    });
    expect(apply(found)).toEqual(planNocow(found, layout));
    expect([calls, notes, descriptorsLeft()]).toEqual([[], [], 0]);
  });

  test("all missing: made for root alone, flagged, and so is what plan said", () => {
    const { look, apply, calls, notes, descriptorsLeft } = volume({});
    const found = look();
    const planned = planNocow(found, layout);
    expect(planned).toEqual({
      outcome: "changed",
      detail: "3 of 3 directories flagged, 3 of them now",
    });
    expect(apply(found)).toEqual(planned);
    expect(calls).toEqual([
      "mkdir @a/one 700",
      "flags @a/one 800000",
      "mkdir @a/two 700",
      "mkdir @a/two/deep 700",
      "flags @a/two/deep 800000",
      "mkdir @b/three 700",
      "flags @b/three 800000",
    ]);
    expect([notes, descriptorsLeft()]).toEqual([[], 0]);
  });

  test("of a filesystem still to be made: all will be made", () => {
    expect(planNocow(null, layout)).toEqual(planNocow(volume({}).look(), layout));
  });

  test("one without the flag gets it beside the flags it has", () => {
    const { look, apply, calls } = volume({ ...allFlagged, "@a/one": { flags: compressed } });
    expect(apply(look()).outcome).toBe("changed");
    expect(calls).toEqual(["flags @a/one 800004"]);
  });

  test("files that were there before the flag keep copy-on-write, and the report says so", () => {
    const { look, apply, notes } = volume({ ...allFlagged, "@a/one": { names: ["meta.db"] } });
    expect(apply(look()).outcome).toBe("changed");
    expect(notes).toEqual([expect.stringMatching(/@a\/one.*keep copy-on-write/)]);
  });

  test("files in a directory that has the flag are no news", () => {
    const old = { ...flagged, names: ["meta.db"] };
    const { look, apply, notes } = volume({ ...allFlagged, "@a/one": old });
    expect(apply(look()).outcome).toBe("kept");
    expect(notes).toEqual([]);
  });
});

describe("a failure is a note, for a volume that is full must come up", () => {
  test("no space for a directory", () => {
    const { look, apply, notes, descriptorsLeft } = volume({}, { mkdir: Errno.ENOSPC });
    expect(apply(look())).toEqual({ outcome: "kept", detail: "0 of 3 directories flagged" });
    expect(notes).toHaveLength(3);
    expect(notes[0]).toMatch(/@a\/one.*ENOSPC/);
    expect(descriptorsLeft()).toBe(0);
  });

  test("no space for a flag", () => {
    const { look, apply, notes, descriptorsLeft } = volume(
      { ...allFlagged, "@b/three": {} },
      { set: Errno.ENOSPC },
    );
    expect(apply(look())).toEqual({ outcome: "kept", detail: "2 of 3 directories flagged" });
    expect(notes).toEqual([expect.stringMatching(/@b\/three.*ENOSPC/)]);
    expect(descriptorsLeft()).toBe(0);
  });

  test("a flag that does not read back is not reported as set", () => {
    const { look, apply, notes } = volume(
      { ...allFlagged, "@b/three": {} },
      { setDoesNothing: true },
    );
    expect(apply(look()).outcome).toBe("kept");
    expect(notes).toEqual([expect.stringContaining("@b/three")]);
  });

  test("a place that cannot be looked at is left alone, and the others are not", () => {
    const { look, apply, notes } = volume(
      { "@a/two/deep": flagged },
      { open: { "@a/one": Errno.ELOOP } },
    );
    const found = look();
    expect(found.map(({ path }) => path)).toEqual(["@a/two/deep", "@b/three"]);
    expect(notes).toEqual([expect.stringMatching(/@a\/one.*ELOOP/)]);
    expect(apply(found)).toEqual({
      outcome: "changed",
      detail: "2 of 3 directories flagged, 1 of them now",
    });
  });
});
