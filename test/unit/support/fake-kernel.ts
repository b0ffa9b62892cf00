import { Errno, SystemError } from "../../../src/linux/errno.ts";
import type { FileStatus, Kernel } from "../../../src/linux/kernel.ts";
import { linuxKernel } from "../../../src/linux/linux-kernel.ts";

/** A kernel that can do just this, as root; any other call fails the test that makes it. */
export function fakeKernel(calls: Partial<Kernel>): Kernel {
  const refusals = Object.keys(linuxKernel(null)).map((name) => [
    name,
    () => {
      throw new Error(`the kernel was asked for ${name}`);
    },
  ]);
  return { ...Object.fromEntries(refusals), geteuid: () => 0, ...calls };
}

/** For `calls` of a fake kernel: a call that always fails. */
export const failing = (errno: keyof typeof Errno) => (): never => {
  throw new SystemError("call", Errno[errno]);
};

export const fileStatus = (values: Partial<FileStatus> = {}): FileStatus => ({
  mode: 0o040755,
  owner: 0,
  inode: 256n,
  sizeBytes: 0,
  allocatedBytes: 0,
  linkCount: 1,
  bornSeconds: 0,
  changedSeconds: 0,
  device: "0:40",
  nodeDevice: "0:0",
  mountId: 1,
  ...values,
});

/** For `calls` of a fake kernel: files that can be opened and read; every other path is missing. */
export function readableFiles(
  files: Readonly<Record<string, string>>,
): Pick<Kernel, "open" | "read" | "close"> {
  const left = new Map<number, Uint8Array>();
  let next = 100;
  return {
    open(path) {
      const text = files[path];
      if (text === undefined) throw new SystemError("open", Errno.ENOENT, path);
      left.set(next, new TextEncoder().encode(text));
      return next++;
    },
    read(fd, buffer) {
      const bytes = left.get(fd) ?? new Uint8Array();
      const count = Math.min(bytes.length, buffer.length);
      buffer.set(bytes.subarray(0, count));
      left.set(fd, bytes.subarray(count));
      return count;
    },
    close: (fd) => void left.delete(fd),
  };
}
