import { describe, expect, test } from "bun:test";
import {
  GET_SUBVOL_INFO,
  SUBVOL_CREATE,
  SUBVOL_GETFLAGS,
  SUBVOL_SETFLAGS,
} from "../../src/btrfs/ioctls.ts";
import type { ErrorCode } from "../../src/volume/error.ts";
import { defaultLayout } from "../../src/volume/layout.ts";
import {
  decideSubvolume,
  lookAtSubvolume,
  makeSubvolume,
  planSubvolumes,
  type SubvolumeState,
  subvolumesResult,
  unlockSubvolumes,
} from "../../src/volume/subvolumes.ts";
import { failing, fakeKernel, fileStatus } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";

describe("a name that something else has is refused, and nothing is removed", () => {
  test.each([
    ["missing", "create"],
    ["subvolume", "kept"],
    ["read-only", "unlock"],
    ["received", "locked"],
  ] as const)("%s: %s", (state, decision) => {
    expect(decideSubvolume("@docker", state)).toBe(decision);
  });

  const refused: readonly (readonly [SubvolumeState, ErrorCode, RegExp])[] = [
    ["directory", "not-a-subvolume", /plain directory/],
    ["file", "not-a-subvolume", /a file/],
    ["symlink", "not-a-subvolume", /symbolic link/],
    ["mount", "not-a-subvolume", /mount point/],
  ];
  test.each(refused)("%s: %s", (state, code, words) => {
    expectRefused(() => decideSubvolume("@docker", state), code, "@docker", words);
  });
});

describe("what has the name", () => {
  const opened = (inode: bigint, flags = 0n, received = 0) =>
    fakeKernel({
      openBeneath: () => 8,
      close: () => undefined,
      statx: () => fileStatus({ inode }),
      ioctl(_fd, request, argument) {
        if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
        if (request === GET_SUBVOL_INFO) {
          argument[343] = received;
          return 0;
        }
        expect(request).toBe(SUBVOL_GETFLAGS);
        new DataView(argument.buffer, argument.byteOffset).setBigUint64(0, flags, true);
        return 0;
      },
    });

  test("the root of a subvolume has the inode 256; no other directory is one", () => {
    expect(lookAtSubvolume(opened(256n), 5, "@docker")).toBe("subvolume");
    expect(lookAtSubvolume(opened(257n), 5, "@docker")).toBe("directory");
    expect(lookAtSubvolume(opened(2n), 5, "@docker")).toBe("directory");
  });

  test("its flags say whether it is read-only", () => {
    expect(lookAtSubvolume(opened(256n, 2n), 5, "@docker")).toBe("read-only");
    expect(lookAtSubvolume(opened(256n, 0xfffdn), 5, "@docker")).toBe("subvolume");
    expect(lookAtSubvolume(opened(256n, 2n, 1), 5, "@docker")).toBe("received");
    expect(lookAtSubvolume(opened(256n, 0n, 1), 5, "@docker")).toBe("subvolume");
  });

  test.each([
    ["ENOENT", "missing"],
    ["ELOOP", "symlink"],
    ["ENOTDIR", "file"],
    ["EXDEV", "mount"],
  ] as const)("%s: %s", (errno, state) => {
    expect(lookAtSubvolume(fakeKernel({ openBeneath: failing(errno) }), 5, "@docker")).toBe(state);
  });

  test("any other error is thrown, never taken for a free name", () => {
    const kernel = fakeKernel({ openBeneath: failing("EIO") });
    expect(() => lookAtSubvolume(kernel, 5, "@docker")).toThrow("EIO");
  });

  test("those that are missing are told from those that are there", () => {
    const kernel = fakeKernel({
      openBeneath: (_fd, path) => (path === "@k3s" || path === "@cni" ? failing("ENOENT")() : 8),
      close: () => undefined,
      statx: () => fileStatus({ inode: 256n }),
      ioctl: () => 0,
    });
    expect(planSubvolumes(kernel, 5, defaultLayout)).toEqual({
      create: ["@k3s", "@cni"],
      unlock: [],
      locked: [],
    });
  });
});

describe("the step", () => {
  test.each([
    [0, 0, "kept", "5 there"],
    [1, 0, "changed", "1 of 5 created"],
    [5, 0, "changed", "5 of 5 created"],
    [0, 2, "changed", "2 of 5 made writable"],
    [1, 4, "changed", "1 of 5 created, 4 of 5 made writable"],
  ] as const)("%i created, %i made writable: %s", (created, unlocked, outcome, detail) => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => `@${i}`);
    const plan = { create: names(created), unlock: names(unlocked) };
    expect(subvolumesResult(plan, defaultLayout)).toEqual({ outcome, detail });
  });
});

describe("making one", () => {
  test("is one ioctl on the top of the filesystem", () => {
    const calls: unknown[] = [];
    const kernel = fakeKernel({
      ioctl(fd, request, argument) {
        if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
        calls.push([fd, request, Buffer.from(argument.subarray(8, 16)).toString()]);
        return 0;
      },
    });
    makeSubvolume(kernel, 5, "@docker");
    expect(calls).toEqual([[5, SUBVOL_CREATE, "@docker\0"]]);
  });

  test.each(["ENOSPC", "EDQUOT"] as const)("on a full volume is %s: no-space", (errno) => {
    const kernel = fakeKernel({ ioctl: failing(errno) });
    expectRefused(() => makeSubvolume(kernel, 5, "@docker"), "no-space", "@docker");
  });

  test("that fails otherwise names the ioctl and the subvolume", () => {
    const kernel = fakeKernel({ ioctl: failing("EEXIST") });
    expect(() => makeSubvolume(kernel, 5, "@docker")).toThrow(/SUBVOL_CREATE.*@docker.*EEXIST/);
  });
});

describe("making them writable", () => {
  const kernel = (set: () => never) =>
    fakeKernel({
      openBeneath: () => 8,
      close: () => undefined,
      ioctl: (_fd, request) => (request === SUBVOL_SETFLAGS ? set() : 0),
    });

  test.each([
    ["EPERM", /@a is read-only.*btrfs send/],
    ["ENOSPC", /@a is read-only.*ENOSPC/],
    ["EROFS", /@a is read-only.*EROFS/],
  ] as const)("that fails (%s) is a note, and the next one is tried", (errno, said) => {
    const notes: string[] = [];
    const note = (text: string): void => void notes.push(text);
    expect(unlockSubvolumes(kernel(failing(errno)), 5, ["@a", "@b"], note)).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(said), expect.stringContaining("@b")]);
  });
});
