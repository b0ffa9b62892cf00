import { expect, test } from "bun:test";
import { Errno, errnoName, isErrno, SystemError } from "../../src/linux/errno.ts";
import * as kernel from "../../src/linux/kernel.ts";
import { inC, lackingCompiler } from "./support/c-program.ts";
import { describeWhere } from "./support/gate.ts";

describeWhere(lackingCompiler(), "constants have the values of this machine's headers", () => {
  const named = <T extends object>(values: T) =>
    Object.fromEntries(Object.keys(values).map((name) => [name, name]));

  test("error numbers", () => {
    expect(inC(named(Errno), ["stdio.h", "errno.h"])).toEqual(Errno);
  });

  test("flags of open and of statx", () => {
    const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NONBLOCK, O_NOATIME, O_CLOEXEC } = kernel;
    const { O_PATH, O_DIRECT, O_DIRECTORY, O_NOFOLLOW, AT_EMPTY_PATH } = kernel;
    const flags = {
      O_RDONLY,
      O_RDWR,
      O_CREAT,
      O_EXCL,
      O_NONBLOCK,
      O_NOATIME,
      O_CLOEXEC,
      O_PATH,
      O_DIRECT,
      O_DIRECTORY,
      O_NOFOLLOW,
      AT_EMPTY_PATH,
    };
    expect(inC(named(flags), ["stdio.h", "fcntl.h"])).toEqual(flags);
    expect(inC({ cwd: "-(AT_FDCWD)" }, ["stdio.h", "fcntl.h"]).cwd).toBe(-kernel.AT_FDCWD);
  });

  test("flags of openat2", () => {
    const { RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH } = kernel;
    const flags = { RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH };
    expect(inC(named(flags), ["stdio.h", "linux/openat2.h"])).toEqual(flags);
  });

  test("flags of mount, umount and lseek", () => {
    const { MS_NOATIME, MNT_DETACH, UMOUNT_NOFOLLOW, SEEK_DATA, SEEK_HOLE } = kernel;
    const flags = { MS_NOATIME, MNT_DETACH, UMOUNT_NOFOLLOW, SEEK_DATA, SEEK_HOLE };
    expect(inC(named(flags), ["stdio.h", "unistd.h", "sys/mount.h"])).toEqual(flags);
  });
});

test("an error number is shown by its name, or as the number it is", () => {
  expect(errnoName(2)).toBe("ENOENT");
  expect(errnoName(4711)).toContain("4711");
});

test("a failed call says which, on what, and why", () => {
  const error = new SystemError("openat", Errno.EACCES, "/dev/vdb");
  expect(error.message).toBe("openat /dev/vdb: EACCES");
  expect(new SystemError("close", Errno.EIO).message).toBe("close: EIO");
});

test("only a failed call with one of the numbers is meant", () => {
  const error = new SystemError("openat", Errno.EACCES);
  expect(isErrno(error, Errno.EPERM, Errno.EACCES)).toBe(true);
  expect(isErrno(error, Errno.EPERM)).toBe(false);
  expect(isErrno(error)).toBe(false);
  expect(isErrno({ errno: Errno.EACCES }, Errno.EACCES)).toBe(false);
  expect(isErrno(null, Errno.EACCES)).toBe(false);
});
