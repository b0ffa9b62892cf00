import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Errno, type SystemError } from "../../src/linux/errno.ts";
import { findLock, oneByte, tryLockRange } from "../../src/linux/file-locks.ts";
import {
  makeDirectories,
  makeDirectoryBeneath,
  readText,
  statOrNull,
} from "../../src/linux/files.ts";
import * as k from "../../src/linux/kernel.ts";
import { linuxKernel } from "../../src/linux/linux-kernel.ts";
import { readMounts } from "../../src/linux/mountinfo.ts";
import { describeWhere } from "./support/gate.ts";
import { GiB, KiB, TiB } from "./support/sparse-disk.ts";

const onLinux = process.platform === "linux";

describeWhere(onLinux ? null : "Linux", "the system calls that need no privilege", () => {
  const kernel = linuxKernel();
  let folder: string;
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "arcbox-unit-")));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  let files = 0;
  /** A new file of this content. */
  const file = (content: string | Uint8Array = ""): string => {
    const path = join(folder, `file ${files++} ü`);
    writeFileSync(path, content);
    return path;
  };
  const errnoOf = (call: () => unknown): number => {
    try {
      call();
    } catch (error) {
      return (error as SystemError).errno;
    }
    throw new Error("it did not fail");
  };
  const closed = <T>(fd: number, use: (fd: number) => T): T => {
    try {
      return use(fd);
    } finally {
      kernel.close(fd);
    }
  };

  test("a call that fails throws its errno, its name and its subject", () => {
    const missing = join(folder, "missing");
    expect(() => kernel.open(missing, k.O_RDONLY)).toThrow(`openat ${missing}: ENOENT`);
    expect(errnoOf(() => kernel.open(folder, k.O_RDWR))).toBe(Errno.EISDIR);
    expect(errnoOf(() => kernel.open(file(), k.O_RDONLY | k.O_DIRECTORY))).toBe(Errno.ENOTDIR);
    expect(errnoOf(() => kernel.readlink(file()))).toBe(Errno.EINVAL);
    expect(errnoOf(() => kernel.statx(k.AT_FDCWD, missing, 0))).toBe(Errno.ENOENT);
  });

  test("a path with a NUL inside is never shortened to another file", () => {
    const path = file("x");
    expect(() => kernel.open(`${path}\0.bak`, k.O_RDONLY)).toThrow(TypeError);
  });

  test("descriptors are not inherited by programs", () => {
    closed(kernel.open(file(), k.O_RDONLY), (fd) => {
      const flags = /flags:\s+(\d+)/.exec(readText(kernel, `/proc/self/fdinfo/${fd}`))?.[1] ?? "0";
      expect(Number.parseInt(flags, 8) & k.O_CLOEXEC).not.toBe(0);
    });
  });

  describe("statx", () => {
    test("says what node's stat says", () => {
      const path = file("twelve bytes");
      const status = kernel.statx(k.AT_FDCWD, path, 0);
      const theirs = lstatSync(path, { bigint: true });
      expect(status).toMatchObject({
        mode: Number(theirs.mode),
        inode: theirs.ino,
        sizeBytes: 12,
        linkCount: 1,
      });
      expect(status.bornSeconds).toBeCloseTo(Number(theirs.birthtimeNs) / 1e9, 5);
      expect(status.changedSeconds).toBeCloseTo(Number(theirs.ctimeNs) / 1e9, 5);
      const [major = "", minor = ""] = status.device.split(":");
      const { dev } = lstatSync(path);
      expect([Number(major), Number(minor)]).toEqual([
        (dev >>> 8) & 0xfff,
        (dev & 0xff) | ((dev >>> 12) & 0xfff00),
      ]);
    });

    test("knows sizes beyond 4 GiB", () => {
      const path = file();
      truncateSync(path, 5 * GiB + 1);
      expect(kernel.statx(k.AT_FDCWD, path, 0).sizeBytes).toBe(5 * GiB + 1);
    });

    test("tells directories, files and device nodes apart", () => {
      const of = (path: string) => kernel.statx(k.AT_FDCWD, path, 0);
      expect([k.isDirectory(of(folder)), k.isRegularFile(of(folder))]).toEqual([true, false]);
      expect([k.isDirectory(of(file())), k.isRegularFile(of(file()))]).toEqual([false, true]);
      expect(of("/dev/null")).toMatchObject({ nodeDevice: "1:3" });
      expect(k.isBlockDevice(of("/dev/null"))).toBe(false);
    });

    test("names the mount that the file is on", () => {
      const { mountId } = kernel.statx(k.AT_FDCWD, folder, 0);
      const [mount] = readMounts(kernel, ({ id }) => id === mountId);
      expect(folder.startsWith(mount?.path ?? "none")).toBe(true);
    });

    test("of nothing is null, of a forbidden place an error", () => {
      expect(statOrNull(kernel, join(folder, "missing"))).toBeNull();
      expect(statOrNull(kernel, join(file(), "below a file"))).toBeNull();
      expect(errnoOf(() => statOrNull(kernel, `/${"n".repeat(300)}`))).toBe(Errno.ENAMETOOLONG);
    });
  });

  test("reading and writing at a place beyond 4 GiB hits that place", () => {
    const path = file();
    closed(kernel.open(path, k.O_RDWR), (fd) => {
      const place = 3 * TiB + 4096;
      try {
        kernel.ftruncate(fd, place + 8);
      } catch {
        // A filesystem with a smaller limit; 5 GiB shows the same.
        kernel.ftruncate(fd, 5 * GiB + 8);
      }
      const { sizeBytes } = kernel.statx(fd, "", k.AT_EMPTY_PATH);
      expect(kernel.pwrite(fd, Uint8Array.of(1, 2, 3), sizeBytes - 8)).toBe(3);
      kernel.fsync(fd);
      const buffer = new Uint8Array(16);
      expect(kernel.pread(fd, buffer, sizeBytes - 8)).toBe(8);
      expect([...buffer.subarray(0, 4)]).toEqual([1, 2, 3, 0]);
      expect(kernel.pread(fd, buffer, sizeBytes)).toBe(0);
    });
  });

  test("a read-only descriptor cannot be written to", () => {
    closed(kernel.open(file("abc"), k.O_RDONLY), (fd) => {
      expect(() => kernel.pwrite(fd, Uint8Array.of(1), 0)).toThrow();
    });
  });

  test("SEEK_DATA and SEEK_HOLE find what a sparse file holds, or say that nothing follows", () => {
    const path = file();
    truncateSync(path, 4 * 1024 * KiB);
    closed(kernel.open(path, k.O_RDWR), (fd) => {
      expect(errnoOf(() => kernel.lseek(fd, 4 * 1024 * KiB, k.SEEK_DATA))).toBe(Errno.ENXIO);
      kernel.pwrite(fd, Uint8Array.of(1), 1024 * KiB);
      const start = kernel.lseek(fd, 0, k.SEEK_DATA);
      expect(start).toBeLessThanOrEqual(1024 * KiB);
      expect(kernel.lseek(fd, start, k.SEEK_HOLE)).toBeGreaterThan(1024 * KiB);
    });
  });

  test("all names of a directory are listed, more than one buffer holds", () => {
    const large = join(folder, "large");
    mkdirSync(large);
    const names = Array.from({ length: 1500 }, (_, i) => `${i}-${"ü".repeat(20)}`);
    for (const name of names) writeFileSync(join(large, name), "");
    const listed = closed(kernel.open(large, k.O_RDONLY | k.O_DIRECTORY), (fd) =>
      kernel.readDirectory(fd),
    );
    expect(listed.toSorted()).toEqual(names.toSorted());
  });

  describe("below a directory", () => {
    const beneath = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS;
    const open = (path: string) =>
      closed(kernel.open(folder, k.O_PATH | k.O_DIRECTORY), (root) =>
        closed(kernel.openBeneath(root, path, k.O_PATH, beneath), (fd) =>
          kernel.readlink(`/proc/self/fd/${fd}`),
        ),
      );

    test("what is there is opened, and no link and no way out is followed", () => {
      mkdirSync(join(folder, "a/b"), { recursive: true });
      symlinkSync("/etc", join(folder, "a/etc"));
      expect(open("a/b")).toBe(join(folder, "a/b"));
      expect(errnoOf(() => open("a/etc/passwd"))).toBe(Errno.ELOOP);
      expect(errnoOf(() => open("../x"))).toBe(Errno.EXDEV);
      expect(errnoOf(() => open("/etc"))).toBe(Errno.EXDEV);
      expect(errnoOf(() => open("a/none"))).toBe(Errno.ENOENT);
    });

    test("directories are made on the whole way, and a link on it stops", () => {
      closed(kernel.open(folder, k.O_PATH | k.O_DIRECTORY), (root) => {
        kernel.close(makeDirectoryBeneath(kernel, root, "new/x y/deep", 0o700));
        expect(lstatSync(join(folder, "new/x y/deep")).mode & 0o777).toBe(0o700);
        kernel.close(makeDirectoryBeneath(kernel, root, "new/x y/deep", 0o700));
        symlinkSync(folder, join(folder, "new/link"));
        const through = () => makeDirectoryBeneath(kernel, root, "new/link/z", 0o700);
        expect(errnoOf(through)).toBe(Errno.ELOOP);
        expect(readdirSync(folder)).not.toContain("z");
      });
    });
  });

  test("directories are made from a path too, and again without a change", () => {
    const path = join(folder, "made/on/the way/");
    makeDirectories(kernel, path, 0o755);
    makeDirectories(kernel, path, 0o755);
    expect(lstatSync(path).isDirectory()).toBe(true);
    expect(errnoOf(() => makeDirectories(kernel, `${file()}/below`, 0o755))).toBe(Errno.ENOTDIR);
  });

  test("no descriptor is left open by any of it", () => {
    const before = readdirSync("/proc/self/fd").length;
    statOrNull(kernel, folder);
    readText(kernel, "/proc/self/mountinfo");
    makeDirectories(kernel, join(folder, "again/and/again"), 0o755);
    expect(readdirSync("/proc/self/fd")).toHaveLength(before);
  });

  test("a file of /proc is read whole, however long", () => {
    expect(readText(kernel, "/proc/self/comm")).toBe(readFileSync("/proc/self/comm", "utf8"));
    const path = file("x".repeat(100_000));
    expect(readText(kernel, path)).toHaveLength(100_000);
  });

  test("a lock on bytes of an open file is in the way of others, and of no one else", () => {
    const path = file("x".repeat(200));
    const open = (): number => kernel.open(path, k.O_RDWR);
    const [one, other] = [open(), open()];
    const range = { start: 100, end: 104 };
    expect(tryLockRange(kernel, one, range, false)).toBe(true);
    expect(tryLockRange(kernel, one, oneByte(2 ** 40), true)).toBe(true);
    expect(findLock(kernel, one, { start: 0, end: null }, true)).toBeNull();
    expect(findLock(kernel, other, { start: 0, end: null }, true)).toEqual({ pid: null });
    expect(findLock(kernel, other, range, false)).toBeNull();
    expect(findLock(kernel, other, { start: 0, end: 100 }, true)).toBeNull();
    expect(findLock(kernel, other, { start: 104, end: 2 ** 40 }, true)).toBeNull();
    expect(findLock(kernel, other, oneByte(103), true)).not.toBeNull();
    expect(tryLockRange(kernel, other, oneByte(103), true)).toBe(false);
    expect(tryLockRange(kernel, other, oneByte(103), false)).toBe(true);
    kernel.close(one);
    expect(tryLockRange(kernel, other, { start: 0, end: null }, true)).toBe(true);
    kernel.close(other);
  });

  test("a filesystem says what it has left, and a file what it takes", () => {
    const path = file("x");
    truncateSync(path, GiB);
    const fd = kernel.open(path, k.O_RDWR);
    const { totalBytes, availableBytes } = kernel.fstatfs(fd);
    const { blocks, bsize, bavail } = statfsSync(path);
    expect(totalBytes).toBe(blocks * bsize);
    expect(Math.abs(availableBytes - bavail * bsize)).toBeLessThan(totalBytes / 10);
    expect(statOrNull(kernel, path)).toMatchObject({
      sizeBytes: GiB,
      allocatedBytes: lstatSync(path).blocks * 512,
    });
    kernel.close(fd);
  });

  test("a lock excludes another descriptor, and goes when its own is closed", () => {
    const path = file();
    const first = kernel.open(path, k.O_RDONLY);
    closed(kernel.open(path, k.O_RDONLY), (second) => {
      expect(kernel.tryLock(first)).toBe(true);
      expect(kernel.tryLock(first)).toBe(true);
      expect(kernel.tryLock(second)).toBe(false);
      kernel.close(first);
      expect(kernel.tryLock(second)).toBe(true);
    });
  });

  describe("a program", () => {
    const run = (script: string, inherited: readonly number[] = []) =>
      kernel.run("/bin/sh", ["-c", script], inherited);

    test("is run to its end: its status and all it said", () => {
      expect(run("echo out; echo err >&2; exit 3")).toEqual({
        exitCode: 3,
        signal: null,
        output: expect.stringMatching(/out\n[\s\S]*err\n|err\n[\s\S]*out\n/),
      });
    });

    test("that cannot be started is a failed system call", () => {
      const path = file("no program");
      expect(errnoOf(() => kernel.run(path, [], []))).toBe(Errno.EACCES);
      expect(errnoOf(() => kernel.run(`${path}.missing`, [], []))).toBe(Errno.ENOENT);
    });

    test("that a signal ended has no exit status", () => {
      expect(run("kill -KILL $$")).toMatchObject({ exitCode: null, signal: "SIGKILL" });
    });

    test("has a clean environment and nothing to read", () => {
      process.env.ARCBOX_UNIT_TEST = "leaked";
      const { output } = run('echo "$ARCBOX_UNIT_TEST|$LC_ALL"; cat');
      delete process.env.ARCBOX_UNIT_TEST;
      expect(output).toBe("|C\n");
    });

    test("runs in the root folder, whatever is the caller's", () => {
      expect(run("pwd")).toMatchObject({ output: "/\n" });
    });

    test("is waited for where the caller ignores SIGCHLD, who goes on ignoring it", () => {
      const ask = [
        `const { linuxKernel } = await import("${join(import.meta.dir, "../../src/linux/linux-kernel.ts")}");`,
        `console.log(linuxKernel().run("/bin/sh", ["-c", "exit 3"], []).exitCode);`,
        `console.log(await Bun.file("/proc/self/status").text());`,
      ].join("");
      const asked = Bun.spawnSync(["env", "--ignore-signal=CHLD", process.execPath, "-e", ask]);
      const [exitCode, ...status] = asked.stdout.toString().split("\n");
      expect(exitCode).toBe("3");
      const ignored = status.find((line) => line.startsWith("SigIgn:"))?.slice(8) ?? "";
      expect(BigInt(`0x${ignored}`) & (1n << 16n)).not.toBe(0n);
    });

    test("inherits the lock, and keeps it when we let go", () => {
      const path = file();
      const locked = kernel.open(path, k.O_RDONLY);
      kernel.tryLock(locked);
      const inode = kernel.statx(locked, "", k.AT_EMPTY_PATH).inode;
      const { output } = run("ls -Li /proc/self/fd/3", [locked]);
      kernel.close(locked);
      expect(output).toContain(`${inode}`);
    });

    test("is run again and again without a descriptor lost", async () => {
      const count = (): number => readdirSync("/proc/self/fd").length;
      const runs = 50;
      run("true");
      const before = count();
      for (let i = 0; i < runs; i++) run("true");
      // Bun closes the pipes of the last runs a moment later.
      for (let i = 0; i < 100 && count() >= before + runs; i++) await Bun.sleep(20);
      expect(count()).toBeLessThan(before + runs);
    });
  });

  describe("waiting", () => {
    test("for nothing ends when its time is over", () => {
      const start = kernel.nowMs();
      expect(kernel.waitReadable([], 20)).toBe(false);
      expect(kernel.nowMs() - start).toBeGreaterThanOrEqual(19);
    });

    test("for a name in a directory ends when it appears, at once", () => {
      const IN_CREATE = 0x100;
      closed(kernel.openInotify(), (inotify) => {
        kernel.watchDirectory(inotify, folder, IN_CREATE);
        expect(kernel.waitReadable([inotify], 0)).toBe(false);
        file();
        expect(kernel.waitReadable([inotify], 5000)).toBe(true);
        const buffer = new Uint8Array(4096);
        expect(kernel.read(inotify, buffer)).toBeGreaterThan(0);
        expect(errnoOf(() => kernel.read(inotify, buffer))).toBe(Errno.EAGAIN);
      });
    });

    test("on a directory that is missing is an error", () => {
      closed(kernel.openInotify(), (inotify) => {
        const missing = join(folder, "missing");
        expect(errnoOf(() => kernel.watchDirectory(inotify, missing, 1))).toBe(Errno.ENOENT);
      });
    });
  });

  test("every random id is another", () => {
    const ids = Array.from({ length: 20 }, () => Buffer.from(kernel.randomId()).toString("hex"));
    expect(new Set(ids).size).toBe(20);
    expect(kernel.randomId()).toHaveLength(16);
  });

  test("the umask is set and given back", () => {
    const before = kernel.umask(0o077);
    expect(kernel.umask(before)).toBe(0o077);
  });
});
