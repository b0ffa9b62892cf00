import { describe, expect, test } from "bun:test";
import type { Mount } from "../../src/linux/mountinfo.ts";
import { defaultLayout } from "../../src/volume/layout.ts";
import {
  decideTarget,
  lookAtTarget,
  openRoot,
  type TargetState,
  targetsOf,
} from "../../src/volume/targets.ts";
import { failing, fakeKernel, fileStatus } from "./support/fake-kernel.ts";
import { layout } from "../kit/volume.ts";
import { expectRefused } from "./support/refused.ts";

const parentMode = 0o755;
const target = {
  subvolume: "@docker",
  path: "/var/lib/docker",
  relativePath: "var/lib/docker",
  parentMode,
};
const whole = {
  subvolume: "",
  path: "/run/arcbox/data",
  relativePath: "run/arcbox/data",
  parentMode,
};
const ours = "0:40";

const mount = (values: Partial<Mount> = {}): Mount => ({
  id: 77,
  parentId: 1,
  device: ours,
  root: "/@docker",
  path: target.path,
  options: ["rw", "noatime"],
  peerGroup: null,
  master: null,
  type: "btrfs",
  source: "/dev/vdb",
  superOptions: ["rw"],
  ...values,
});

const tableOf = (mounts: readonly Mount[]) => ({
  byId: (id: number) => mounts.find((line) => line.id === id),
  all: () => mounts,
});

describe("a target is mounted only where the mount table says this filesystem and this subvolume", () => {
  const cases: readonly (readonly [
    what: string,
    TargetState,
    filesystem: string | null,
    cover: boolean,
    expected: "kept" | "mount" | RegExp,
  ])[] = [
    ["nothing there, in a mount", { kind: "missing", above: mount() }, ours, false, "mount"],
    ["nothing there", { kind: "missing", above: undefined }, ours, false, "mount"],
    ["an empty directory", { kind: "directory", empty: true }, ours, false, "mount"],
    [
      "a directory that is not empty",
      { kind: "directory", empty: false },
      ours,
      false,
      /not empty/,
    ],
    ["the same with --cover", { kind: "directory", empty: false }, ours, true, "mount"],
    [
      "a symbolic link",
      { kind: "not-a-directory", what: "a symbolic link" },
      ours,
      true,
      /symbolic/,
    ],
    ["our subvolume", { kind: "mounted", mount: mount() }, ours, false, "kept"],
    [
      "another subvolume of ours",
      { kind: "mounted", mount: mount({ root: "/@cni" }) },
      ours,
      true,
      /@cni/,
    ],
    [
      "the whole of ours",
      { kind: "mounted", mount: mount({ root: "/" }) },
      ours,
      true,
      /of this volume/,
    ],
    [
      "a directory inside our subvolume",
      {
        kind: "mounted",
        mount: mount({ root: "/@docker/sub" }),
      },
      ours,
      true,
      /@docker\/sub/,
    ],
    [
      "a snapshot with a longer name",
      {
        kind: "mounted",
        mount: mount({ root: "/@docker2" }),
      },
      ours,
      true,
      /@docker2/,
    ],
    [
      "our subvolume, deleted meanwhile",
      {
        kind: "mounted",
        mount: mount({ root: "/@docker//deleted" }),
      },
      ours,
      true,
      /deleted/,
    ],
    [
      "tmpfs",
      {
        kind: "mounted",
        mount: mount({ device: "0:51", root: "/", type: "tmpfs", source: "tmpfs" }),
      },
      ours,
      true,
      /tmpfs/,
    ],
    [
      "the same subvolume of another Btrfs",
      {
        kind: "mounted",
        mount: mount({ device: "0:41" }),
      },
      ours,
      true,
      /btrfs/,
    ],
    ["an automount", { kind: "automount", on: target.path }, ours, true, /an automount/],
    ["one on the way", { kind: "automount", on: "/var" }, ours, true, /automount \(\/var\)/],
    ["a Btrfs while ours is not mounted", { kind: "mounted", mount: mount() }, null, true, /btrfs/],
  ];
  test.each(cases)("%s", (_what, state, filesystem, cover, expected) => {
    const decide = () => decideTarget(target, state, filesystem, cover);
    if (expected instanceof RegExp) {
      expectRefused(decide, "target-occupied", target.path, expected);
    } else {
      expect(decide()).toBe(expected);
    }
  });

  test("the whole filesystem's place wants its top", () => {
    const state = (root: string): TargetState => ({ kind: "mounted", mount: mount({ root }) });
    expect(decideTarget(whole, state("/"), ours, false)).toBe("kept");
    expectRefused(() => decideTarget(whole, state("/@docker"), ours, false), "target-occupied");
  });
});

describe("the targets of a layout", () => {
  test("the whole filesystem is the first, and all are below the root", () => {
    const paths = targetsOf(defaultLayout, "/srv/a b").map(({ path }) => path);
    expect(paths).toEqual([
      "/srv/a b/run/arcbox/data",
      "/srv/a b/var/lib/docker",
      "/srv/a b/var/lib/containerd",
      "/srv/a b/var/lib/rancher/k3s",
      "/srv/a b/var/lib/kubelet",
      "/srv/a b/var/lib/cni",
    ]);
  });

  test("below the root directory itself no slash is doubled", () => {
    for (const { path, relativePath } of targetsOf(defaultLayout, "/")) {
      expect(path).toBe(`/${relativePath}`);
    }
  });

  test("the layout is that of the contract", () => {
    const table = defaultLayout.entries.map((entry) => ({
      name: entry.subvolume,
      path: entry.path,
      nocow: [...entry.noCopyOnWrite],
      files: [...entry.noCopyOnWriteFiles],
    }));
    expect(table).toEqual(
      layout.map(({ name, path, nocow, files }) => ({
        name,
        path,
        nocow: [...nocow],
        files: [...files],
      })),
    );
  });
});

describe("what is at a target", () => {
  /** The directory is there, reached through this mount, with these names in it. */
  const there = (mountId: number, names: readonly string[]) =>
    fakeKernel({
      openBeneath: () => 8,
      statx: () => fileStatus({ mountId }),
      open: () => 9,
      readDirectory: () => [...names],
      close: () => undefined,
    });

  test("our mount, by the id of the path itself", () => {
    const table = [mount({ id: 76, root: "/@cni" }), mount()];
    expect(lookAtTarget(there(77, []), 5, target, tableOf(table))).toEqual({
      kind: "mounted",
      mount: mount(),
    });
  });

  test("a mount that another one hides does not count", () => {
    const above = mount({ id: 78, type: "tmpfs", device: "0:51" });
    const state = lookAtTarget(there(78, []), 5, target, tableOf([mount(), above]));
    expect(state).toEqual({ kind: "mounted", mount: above });
  });

  test("a directory on the mount of a parent is not mounted itself", () => {
    const parent = mount({ id: 20, path: "/var" });
    expect(lookAtTarget(there(20, []), 5, target, tableOf([parent]))).toEqual({
      kind: "directory",
      empty: true,
    });
    expect(lookAtTarget(there(20, ["x"]), 5, target, tableOf([parent]))).toEqual({
      kind: "directory",
      empty: false,
    });
  });

  test.each([
    ["ELOOP", "not-a-directory"],
    ["ENOTDIR", "not-a-directory"],
  ] as const)("%s: %s", (errno, kind) => {
    const kernel = fakeKernel({ openBeneath: failing(errno) });
    expect(lookAtTarget(kernel, 5, target, tableOf([])).kind).toBe(kind);
  });

  test("of a directory that is missing the mount is told in which it would be made", () => {
    const above = mount({ id: 20, path: "/var" });
    const kernel = fakeKernel({
      openBeneath: (_, path) => (path === "." ? 7 : failing("ENOENT")()),
      statx: () => fileStatus({ mountId: 20 }),
      close: () => undefined,
    });
    expect(lookAtTarget(kernel, 5, target, tableOf([above]))).toEqual({ kind: "missing", above });
  });

  test.each(["/var/lib/docker", "/var", "/"])("an automount at %s is not walked into", (path) => {
    const kernel = fakeKernel({ openBeneath: failing("EIO") });
    const automount = mount({ id: 20, path, type: "autofs" });
    const state = lookAtTarget(kernel, 5, target, tableOf([automount]));
    expect(state).toEqual({ kind: "automount", on: path });
  });

  test.each([
    ["what was mounted on it when it was walked into", "/var"],
    ["what it mounted inside", "/var/lib"],
  ])("an automount in the way is none any more: %s", (_what, path) => {
    const automount = mount({ id: 20, path: "/var", type: "autofs" });
    const above = mount({ id: 21, parentId: 20, path, type: "nfs" });
    expect(lookAtTarget(there(21, []), 5, target, tableOf([automount, above])).kind).toBe(
      "directory",
    );
  });

  test("any other error is thrown, never taken for a free place", () => {
    const kernel = fakeKernel({ openBeneath: failing("EACCES") });
    expect(() => lookAtTarget(kernel, 5, target, tableOf([]))).toThrow("EACCES");
  });
});

describe("the root directory", () => {
  test("is known by its real path", () => {
    const kernel = fakeKernel({ open: () => 9, readlink: () => "/real" });
    expect(openRoot(kernel, "/link")).toEqual({ fd: 9, path: "/real" });
  });
  test("may be missing", () => {
    const kernel = fakeKernel({ open: failing("ENOENT"), statx: failing("ENOENT") });
    expect(openRoot(kernel, "/srv")).toBeNull();
  });
  test("that is a link to nowhere is no missing one: it could not be made", () => {
    const kernel = fakeKernel({
      open: failing("ENOENT"),
      statx: () => fileStatus({ mode: 0o120777 }),
    });
    expectRefused(() => openRoot(kernel, "/srv"), "usage", "/srv");
  });
  test("is no file", () => {
    const kernel = fakeKernel({ open: failing("ENOTDIR") });
    expectRefused(() => openRoot(kernel, "/etc/passwd"), "usage", "/etc/passwd");
  });
  test("that may not be opened is no missing one", () => {
    expect(() => openRoot(fakeKernel({ open: failing("EACCES") }), "/srv")).toThrow("EACCES");
  });
});
