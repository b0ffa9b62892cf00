import { describe, expect, test } from "bun:test";
import { mention, print, tell } from "../../src/cli/terminal.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import {
  namesIn,
  readExactly,
  readTextOrNull,
  withFd,
  writeExactly,
} from "../../src/linux/files.ts";
import type { Kernel } from "../../src/linux/kernel.ts";
import { deviceDisk, fileDisk } from "../../src/volume/disk.ts";
import { writeDurably } from "../../src/volume/write.ts";
import { failing, fakeKernel } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";

const content = Uint8Array.from({ length: 100 }, (_, i) => i + 1);

/** A file that gives at most `most` bytes a call. */
const slow = (most: number): Partial<Kernel> => ({
  pread(_fd, buffer, offset) {
    const part = content.subarray(offset, offset + Math.min(most, buffer.length));
    buffer.set(part);
    return part.length;
  },
});

describe("a kernel may read and write less than it was asked for", () => {
  test.each([1, 7, 99, 1000])("%i bytes a read: all of it is read", (most) => {
    const buffer = new Uint8Array(90);
    expect(readExactly(fakeKernel(slow(most)), 3, buffer, 10)).toBe(true);
    expect(buffer).toEqual(content.subarray(10));
  });

  test("a file that ends before is not read as zeros", () => {
    expect(readExactly(fakeKernel(slow(7)), 3, new Uint8Array(91), 10)).toBe(false);
  });

  test.each([1, 7, 1000])("%i bytes a write: all of it is written, each byte once", (most) => {
    const written: number[] = [];
    const kernel = fakeKernel({
      pwrite(_fd, buffer, offset) {
        expect(offset).toBe(500 + written.length);
        const count = Math.min(most, buffer.length);
        written.push(...buffer.subarray(0, count));
        return count;
      },
    });
    writeExactly(kernel, 3, content, 500);
    expect(written).toEqual([...content]);
  });
});

describe("a device as a disk", () => {
  test("that ends before its size is an error, not a disk full of zeros", () => {
    const disk = deviceDisk(fakeKernel(slow(50)), 3, 200);
    expect(() => disk.read(90, 20)).toThrow("EIO");
    expect(disk.read(90, 10)).toEqual(content.subarray(90));
  });

  test("gives fewer bytes at its end, and none behind it", () => {
    const disk = deviceDisk(fakeKernel(slow(50)), 3, 100);
    expect(disk.read(95, 20)).toEqual(content.subarray(95));
    expect(disk.read(100, 20)).toHaveLength(0);
    expect(disk.read(1000, 20)).toHaveLength(0);
  });

  test("that cannot be read says so", () => {
    const disk = deviceDisk(fakeKernel({ pread: failing("EIO") }), 3, 100);
    expect(() => disk.read(0, 10)).toThrow(SystemError);
  });
});

describe("an image as the disk it will be once it has grown", () => {
  const disk = fileDisk(fakeKernel(slow(50)), 3, 100, 300);

  test("has its content, and zeros behind it", () => {
    const read = disk.read(90, 100);
    expect(read.subarray(0, 10)).toEqual(content.subarray(90));
    expect([...read.subarray(10)]).toEqual(new Array(90).fill(0));
    expect(disk.read(200, 50)).toEqual(new Uint8Array(50));
    expect(disk.read(290, 50)).toHaveLength(10);
  });

  test("never reads behind what the file has", () => {
    const offsets: number[] = [];
    const kernel = fakeKernel({
      pread(_fd, buffer, offset) {
        offsets.push(offset + buffer.length);
        return buffer.length;
      },
    });
    fileDisk(kernel, 3, 100, 300).read(50, 200);
    expect(Math.max(...offsets)).toBeLessThanOrEqual(100);
  });

  test("knows its ranges of data from the kernel", () => {
    const data = [
      [10, 20],
      [60, 100],
    ] as const;
    const kernel = fakeKernel({
      lseek(_fd, offset, whence) {
        const range = data.find(([, end]) => offset < end);
        if (range === undefined) return failing("ENXIO")();
        return whence === 3 ? Math.max(offset, range[0]) : range[1];
      },
    });
    expect([...(fileDisk(kernel, 3, 100, 300).dataRanges?.() ?? [])]).toEqual([
      [10, 20],
      [60, 100],
    ]);
  });

  test("has no range when the kernel knows of no data", () => {
    const kernel = fakeKernel({ lseek: failing("ENXIO") });
    expect([...(fileDisk(kernel, 3, 100, 300).dataRanges?.() ?? [])]).toEqual([]);
  });

  test("whose ranges cannot be asked is not one without data", () => {
    const kernel = fakeKernel({ lseek: failing("EIO") });
    expect(() => [...(fileDisk(kernel, 3, 100, 300).dataRanges?.() ?? [])]).toThrow("EIO");
  });
});

describe("a descriptor is closed on every way out", () => {
  test("after the use, and after a failure in it", () => {
    const closed: number[] = [];
    const kernel = fakeKernel({ close: (fd) => void closed.push(fd) });
    expect(withFd(kernel, 7, () => "used")).toBe("used");
    expect(() => withFd(kernel, 8, failing("EIO"))).toThrow("EIO");
    expect(closed).toEqual([7, 8]);
  });
});

describe("what may be missing and what may not", () => {
  test("a directory that is not there has no names", () => {
    expect(namesIn(fakeKernel({ open: failing("ENOENT") }), "/sys/fs/btrfs")).toEqual([]);
    expect(() => namesIn(fakeKernel({ open: failing("EACCES") }), "/sys")).toThrow("EACCES");
  });

  test("a file of sysfs that is not there, or has nothing to say, is null", () => {
    for (const errno of ["ENOENT", "ENODEV", "ENXIO", "EINVAL", "ESRCH"] as const) {
      expect(readTextOrNull(fakeKernel({ open: failing(errno) }), "/sys/x")).toBeNull();
    }
    expect(() => readTextOrNull(fakeKernel({ open: failing("EIO") }), "/sys/x")).toThrow("EIO");
  });
});

describe("what is written to a disk", () => {
  test("is flushed before the descriptor is closed, in the order given", () => {
    const calls: string[] = [];
    const kernel = fakeKernel({
      open: (path) => {
        calls.push(`open ${path}`);
        return 3;
      },
      pwrite: (_fd, bytes, offset) => {
        calls.push(`write ${offset} ${bytes.length}`);
        return bytes.length;
      },
      fsync: () => void calls.push("fsync"),
      close: () => void calls.push("close"),
    });
    const block = new Uint8Array(10);
    writeDurably(kernel, 7, [
      [100, block],
      [50, block],
    ]);
    expect(calls).toEqual([
      "open /proc/self/fd/7",
      "write 100 10",
      "write 50 10",
      "fsync",
      "close",
    ]);
  });

  test("and could not be flushed is an error", () => {
    const kernel = fakeKernel({
      open: () => 3,
      pwrite: (_fd, bytes) => bytes.length,
      fsync: failing("EIO"),
      close: () => undefined,
    });
    expect(() => writeDurably(kernel, 7, [[0, content]])).toThrow("EIO");
  });
});

describe("printing", () => {
  /** A reader that takes `pieceBytes` at once, and nothing while `stalls` lasts. */
  function reader(pieceBytes: number, stalls: { left: number }) {
    const said = { text: "", waits: 0 };
    let nowMs = 0;
    const kernel = fakeKernel({
      nowMs: () => nowMs,
      waitWritable(_fd, timeoutMs) {
        if (stalls.left === 0) return true;
        stalls.left--;
        nowMs += Math.min(timeoutMs, 500);
        return timeoutMs > 500;
      },
      write(_fd, buffer) {
        if (stalls.left > 0) throw new SystemError("write", Errno.EAGAIN);
        const taken = Math.min(pieceBytes, buffer.length);
        said.text += new TextDecoder().decode(buffer.subarray(0, taken));
        return taken;
      },
      waitReadable() {
        said.waits++;
        return false;
      },
    });
    return { kernel, said };
  }
  const text = "a long text";
  const printer = (errno: keyof typeof Errno, onWrite: (fd: number, text: string) => void) =>
    fakeKernel({
      nowMs: () => 0,
      waitWritable: () => true,
      write(fd, bytes) {
        onWrite(fd, new TextDecoder().decode(bytes));
        if (fd === 1) throw new SystemError("write", Errno[errno], "standard output");
        return bytes.length;
      },
    });

  test("goes on until all is written, and waits for a reader that is slow", () => {
    for (const put of [print, tell]) {
      const { kernel, said } = reader(3, { left: 2 });
      put(kernel, 1, text);
      expect(said).toEqual({ text, waits: 1 });
    }
  });

  test("what a command did is told for two seconds to a reader that reads nothing, not for ever", () => {
    const { kernel, said } = reader(3, { left: 1000 });
    tell(kernel, 1, text);
    expect(said.text).toBe("");
    expect(kernel.nowMs()).toBeLessThan(3000);
  });

  test("what goes on is mentioned only to a reader that reads", () => {
    const stuck = reader(3, { left: 1000 });
    mention(stuck.kernel, 2, text);
    expect([stuck.said.text, stuck.kernel.nowMs()]).toEqual(["", 0]);
    const { kernel, said } = reader(3, { left: 0 });
    mention(kernel, 2, text);
    expect(said.text).toBe(text);
  });

  test("to a reader that went away is nobody's fault; any other failure is one of a text", () => {
    const nothing = (): void => undefined;
    expect(() => print(printer("EPIPE", nothing), 1, "x")).not.toThrow();
    expect(() => print(printer("ENOSPC", nothing), 1, "x")).toThrow("ENOSPC");
  });

  test.each(["EPIPE", "ENOSPC", "EBADF", "EIO", "EFBIG"] as const)(
    "no failure is one of a report: %s",
    (errno) => {
      const errors: string[] = [];
      const kernel = printer(errno, (fd, said) => {
        if (fd === 2) errors.push(said);
      });
      tell(kernel, 1, "x");
      const lost = `arcbox-agent: the report is lost: write standard output: ${errno}\n`;
      expect(errors).toEqual(errno === "EPIPE" ? [] : [lost]);
    },
  );
});

test("a refusal is a refusal: the helper of these tests can fail", () => {
  expect(() => expectRefused(() => "fine", "usage")).toThrow("expected a refusal");
});
