import { describe, expect, test } from "bun:test";
import { parseSuperblock } from "../../src/btrfs/superblock.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import { MNT_DETACH, MS_NOATIME, UMOUNT_NOFOLLOW } from "../../src/linux/kernel.ts";
import type { ErrorCode } from "../../src/volume/error.ts";
import { missingFeatures, mountError } from "../../src/volume/mount.ts";
import { MountJournal } from "../../src/volume/mount-journal.ts";
import { failing, fakeKernel, fileStatus } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";
import { GiB } from "./support/sparse-disk.ts";
import { superblock } from "./support/superblock.ts";

const using = (incompatFlags: number) => parseSuperblock(superblock({ incompatFlags }));
/** /sys/fs/btrfs/features of Linux 6.18 */
const kernel618 = [
  "acl",
  "block_group_tree",
  "no_holes",
  "metadata_uuid",
  "raid1c34",
  "zoned",
  "simple_quota",
];

describe("features that this kernel lacks are named", () => {
  test.each([
    ["a fresh filesystem of mkfs 6.2", 0x341, []],
    ["all that every kernel has", 0x1ff, []],
    ["all that this kernel has", 0x1ff | (1 << 9) | (1 << 10) | (1 << 11) | (1 << 16), []],
    ["the extent tree v2", 0x341 | (1 << 13), ["extent_tree_v2"]],
    ["two of them", (1 << 14) | (1 << 17), ["raid_stripe_tree", "remap_tree"]],
    ["one without a name", 0x341 | (1 << 15), ["0x8000"]],
    ["one far away", 2 ** 40, ["0x10000000000"]],
    ["one with a name and one without", (1 << 13) | (1 << 15), ["extent_tree_v2", "0x8000"]],
  ] as const)("%s", (_what, flags, missing) => {
    expect(missingFeatures(using(flags), kernel618)).toEqual([...missing]);
  });

  test("a kernel without no_holes lacks it", () => {
    expect(missingFeatures(using(0x341), [])).toEqual(["no_holes"]);
  });
});

describe("what the kernel's refusal means", () => {
  /** Of a filesystem that uses these features; of one of which nothing is known without them. */
  const refuse = (errno: number, incompatFlags?: number): (() => never) => {
    const kernel = fakeKernel({
      open: () => 3,
      close: () => undefined,
      readDirectory: () => [...kernel618],
    });
    const failed = new SystemError("mount", errno, "/dev/vdb");
    const disk = { sizeBytes: GiB, read: (_: number, length: number) => new Uint8Array(length) };
    const found = incompatFlags === undefined ? null : { disk, superblock: using(incompatFlags) };
    return () => {
      throw mountError(kernel, "/dev/vdb", found, failed);
    };
  };
  const cases: readonly (readonly [keyof typeof Errno, ErrorCode, RegExp])[] = [
    ["EBUSY", "busy", /in use by something else/],
    ["EPERM", "permission", /root/],
    ["ENODEV", "unsupported", /no Btrfs/],
    ["EROFS", "read-only", /read-only/],
    ["EINVAL", "mount-failed", /usebackuproot[\s\S]*ro,rescue=all/],
    ["EIO", "mount-failed", /usebackuproot[\s\S]*ro,rescue=all/],
  ];
  test.each(cases)("%s: %s", (errno, code, words) => {
    expectRefused(refuse(Errno[errno]), code, words);
  });

  test("with unknown features: a newer kernel, and not a rescue", () => {
    const unknown = refuse(Errno.EINVAL, 0x341 | (1 << 15));
    expectRefused(unknown, "mount-failed", "0x8000", "newer kernel", /^(?![\s\S]*rescue)/);
  });
});

describe("mounts of a run that failed are taken back", () => {
  const root = { fd: 5, path: "/" };
  /** Whoever swaps /srv for a link meanwhile is too late. */
  const parent = "/proc/self/fd/8";
  const target = (name: string) => ({
    subvolume: name,
    path: `/srv/${name}`,
    relativePath: `srv/${name}`,
    parentMode: 0o755,
  });

  /** A kernel where the parent of every target is descriptor 8, and a mounted target 9. */
  const directories = {
    openBeneath: (from: number, path: string) => (from === root.fd && path !== "srv" ? 9 : 8),
    statx: (fd: number, path: string) => fileStatus({ mountId: fd === 9 || path !== "" ? 2 : 1 }),
    close: () => undefined,
  };

  function journaled(unmount: (path: string, flags: number) => void) {
    const mounted: unknown[] = [];
    const kernel = fakeKernel({
      ...directories,
      mount: (...call) => void mounted.push(call),
      unmount,
    });
    const journal = new MountJournal(kernel);
    for (const name of ["a", "b", "c"]) journal.mount(root, target(name), "/dev/vdb", "subvol=x");
    return { journal, mounted };
  }

  test("in reverse order, and once", () => {
    const gone: unknown[] = [];
    const { journal } = journaled((...call) => void gone.push(call));
    expect(journal.undo()).toEqual([]);
    expect(gone).toEqual(["c", "b", "a"].map((name) => [`${parent}/${name}`, UMOUNT_NOFOLLOW]));
    expect(journal.undo()).toEqual([]);
    expect(gone).toHaveLength(3);
  });

  test("out of sight at least, where somebody walked in already", () => {
    const gone: string[] = [];
    const { journal } = journaled((path, flags) => {
      if (path === `${parent}/b` && (flags & MNT_DETACH) === 0) failing("EBUSY")();
      gone.push(path);
    });
    expect(journal.undo()).toEqual([]);
    expect(gone).toEqual(["c", "b", "a"].map((name) => `${parent}/${name}`));
  });

  test("one that will not go is named, and the others still go", () => {
    const gone: string[] = [];
    const { journal } = journaled((path) => {
      if (path === `${parent}/b`) failing("EINVAL")();
      gone.push(path);
    });
    expect(journal.undo()).toEqual([{ target: target("b"), reason: "EINVAL" }]);
    expect(gone).toEqual(["c", "a"].map((name) => `${parent}/${name}`));
  });

  test("one that failed is not among them", () => {
    const gone: string[] = [];
    const kernel = fakeKernel({
      ...directories,
      mount: failing("EINVAL"),
      unmount: (path) => void gone.push(path),
    });
    const journal = new MountJournal(kernel);
    expect(() => journal.mount(root, target("a"), "/dev/vdb", "")).toThrow("EINVAL");
    expect(journal.undo()).toEqual([]);
    expect(gone).toEqual([]);
  });

  test.each([
    ["the path leads to another mount", 3, "/proc/self/fd/8/a"],
    ["the directory was renamed before it was mounted on", 1, "/elsewhere"],
  ])("at once, where %s", (_what, mountId, unmounted) => {
    const gone: string[] = [];
    const closed: number[] = [];
    const kernel = fakeKernel({
      ...directories,
      statx: (fd, path) =>
        fileStatus({ mountId: fd === 9 ? mountId : path === "" || mountId === 1 ? 1 : 2 }),
      close: (fd) => void closed.push(fd),
      readlink: () => "/elsewhere",
      mount: () => undefined,
      unmount: (path) => void gone.push(path),
    });
    const journal = new MountJournal(kernel);
    const mount = () => journal.mount(root, target("a"), "/dev/vdb", "");
    expectRefused(mount, "target-occupied", "/srv/a", "moved or replaced");
    expect(journal.undo()).toEqual([]);
    expect(gone).toEqual([unmounted]);
    // The target, its path once more, and the parent that the journal kept.
    expect(closed.toSorted((a, b) => a - b)).toEqual([8, 8, 9]);
  });

  test("noatime is a flag: in the data it would be EINVAL", () => {
    const { mounted } = journaled(() => undefined);
    expect(mounted[0]).toEqual(["/dev/vdb", "/proc/self/fd/8", "btrfs", MS_NOATIME, "subvol=x"]);
    expect(MS_NOATIME).toBe(1024);
  });

  test.each([
    ["EROFS", "mount-failed"],
    ["ENOSPC", "no-space"],
    ["EDQUOT", "no-space"],
    ["ELOOP", "target-occupied"],
    ["ENOTDIR", "target-occupied"],
  ] as const)("a mount point that cannot be made, %s: %s", (errno, code) => {
    const kernel = fakeKernel({
      openBeneath: (_fd, path) => (path === "a" ? failing("ENOENT")() : 8),
      close: () => undefined,
      mkdirat: failing(errno),
    });
    const mount = () => new MountJournal(kernel).mount(root, target("a"), "/dev/vdb", "");
    expectRefused(mount, code, "/srv/a");
  });
});
