import { pageBytes } from "#native";
import { Errno, isErrno } from "../errno.ts";
import { AT_FDCWD, O_CLOEXEC } from "../kernel.ts";
import { struct, u16, u32, u64 } from "../struct.ts";
import { fromUtf8 } from "../text.ts";
import { scratch } from "./scratch.ts";
import { call, nameWord, retried } from "./system-call.ts";

/** linux/openat2.h, struct open_how */
const openHow = struct(24, { flags: u64(0), mode: u64(8), resolve: u64(16) });

/** linux/stat.h, struct statx; the mask asks for the basic fields, the time of birth and the mount id. */
const statxFields = struct(256, {
  linkCount: u32(16),
  owner: u32(20),
  mode: u16(28),
  inode: u64(32),
  sizeBytes: u64(40),
  /** In units of 512 bytes. */
  blocks: u64(48),
  bornSeconds: u64(80),
  bornNanoseconds: u32(88),
  changedSeconds: u64(96),
  changedNanoseconds: u32(104),
  nodeMajor: u32(128),
  nodeMinor: u32(132),
  deviceMajor: u32(136),
  deviceMinor: u32(140),
  mountId: u64(144),
});
const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;
const STATX_MNT_ID = 0x1000;

/** asm-generic/statfs.h, struct statfs of 64-bit machines; counts of blocks. */
const statfsFields = struct(120, {
  magic: u32(0),
  blockBytes: u64(8),
  blocks: u64(16),
  availableBlocks: u64(32),
  firstIdWord: u32(56),
});

/** linux/dirent.h, struct linux_dirent64: where the record length and the name stand, which ends with a NUL. */
const dirent = { recordLength: 16, name: 19 } as const;

/** linux/fadvise.h */
const POSIX_FADV_WILLNEED = 3;

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Some 100 entries of a directory, or where a link leads: PATH_MAX of linux/limits.h. */
const nameBufferBytes = 4096;

const how = scratch(openHow.sizeBytes);
const status = scratch(statxFields.sizeBytes);
const { bytes: names, view: nameView } = scratch(nameBufferBytes);

/** Seconds since 1970. Not by a bigint, because this is called so often. */
const moment = (view: DataView, seconds: number, nanoseconds: number): number =>
  view.getInt32(seconds + 4, true) * 2 ** 32 +
  view.getUint32(seconds, true) +
  view.getUint32(nanoseconds, true) / 1e9;

/** What statx(2) says of a file; device numbers as "major:minor", as in mountinfo. */
export interface FileStatus {
  readonly mode: number;
  readonly owner: number;
  readonly inode: bigint;
  readonly sizeBytes: number;
  /** What of it takes space: holes do not. */
  readonly allocatedBytes: number;
  readonly linkCount: number;
  /** When it was made, in seconds since 1970, to less than a microsecond; 0 where the filesystem does not know. */
  readonly bornSeconds: number;
  /** The same of the last change to it, its names and rights too. */
  readonly changedSeconds: number;
  /** The filesystem the file is on. */
  readonly device: string;
  /** The device that a device node stands for. */
  readonly nodeDevice: string;
  /** The mount the file was reached through: first field of its mountinfo line (Linux 5.8). */
  readonly mountId: number;
}

/** Numbers that a filesystem may make up: of a network or FUSE filesystem both may be 0. */
export interface FilesystemSpace {
  readonly totalBytes: number;
  /** What a plain user may still write: some keep the rest for root. */
  readonly availableBytes: number;
  /** Which kind it is (linux/magic.h). */
  readonly magic: number;
  /** The first of the two words of its id. */
  readonly firstIdWord: number;
}

/** What is done with files, folders and devices, by path or open. */
export interface FileCalls {
  /** open(2), always with O_CLOEXEC. */
  open(path: string, flags: number, mode?: number): number;
  /**
   * openat2(2) with RESOLVE_* flags, always with O_CLOEXEC; `directory` may be AT_FDCWD, `mode` goes with
   * O_CREAT.
   */
  openBeneath(
    directory: number,
    path: string,
    flags: number,
    resolve: number,
    mode?: number,
  ): number;
  /**
   * close(2). Linux lets go of the descriptor whatever it answers, and what is to last was flushed
   * before: only EBADF, a fault of the program, is an error.
   */
  close(fd: number): void;
  /** read(2): bytes read, 0 at the end. */
  read(fd: number, buffer: Uint8Array): number;
  /** pread(2): bytes read, 0 at the end. */
  pread(fd: number, buffer: Uint8Array, offsetBytes: number): number;
  /** posix_fadvise(2), POSIX_FADV_WILLNEED: the disk may begin to read. Advice, so it never fails. */
  readAhead(fd: number, offsetBytes: number, lengthBytes: number): void;
  /** pwrite(2): bytes written. */
  pwrite(fd: number, buffer: Uint8Array, offsetBytes: number): number;
  /** write(2): bytes written. */
  write(fd: number, buffer: Uint8Array): number;
  fsync(fd: number): void;
  /**
   * Writes down all of the mounted filesystem that the descriptor is on. Throws for whatever of it could
   * not be written, now or before, unless somebody was told already.
   */
  syncfs(fd: number): void;
  ftruncate(fd: number, lengthBytes: number): void;
  /** lseek(2), for SEEK_DATA and SEEK_HOLE. */
  lseek(fd: number, offsetBytes: number, whence: number): number;
  /** statx(2) of a path, or of the descriptor itself with AT_EMPTY_PATH and "". */
  statx(directory: number, path: string, flags: number): FileStatus;
  /**
   * The names in a directory but "." and "..", from getdents64(2): all that are left to read, or the
   * next few, `atLeast` of them where there are so many.
   */
  readDirectory(fd: number, atLeast?: number): string[];
  readlink(path: string): string;
  mkdirat(directory: number, name: string, mode: number): void;
  chmod(path: string, mode: number): void;
  unlink(path: string): void;
  /** getpagesize(2): 4096 but on some arm64 kernels. */
  pageBytes(): number;
  /** ioctl(2) with a buffer that may be written to, or a plain number. Gives its return value. */
  ioctl(fd: number, request: number, argument: Uint8Array | number): number;
  /** fcntl(2) with a buffer that may be written to, or a plain number. Gives its return value. */
  fcntl(fd: number, command: number, argument: Uint8Array | number): number;
  /** fstatfs(2): how much the filesystem of an open file has left. */
  fstatfs(fd: number): FilesystemSpace;
  /** flock(2) without waiting: false when somebody else holds the lock. */
  tryLock(fd: number): boolean;
}

export const fileCalls: FileCalls = {
  open: (path, flags, mode = 0) =>
    retried("openat", path, AT_FDCWD, nameWord(path), flags | O_CLOEXEC, mode),

  openBeneath(directory, path, flags, resolve, mode = 0) {
    const { bytes, view } = how;
    view.setUint32(openHow.fields.flags.offset, flags | O_CLOEXEC, true);
    view.setUint32(openHow.fields.mode.offset, mode, true);
    view.setUint32(openHow.fields.resolve.offset, resolve, true);
    return retried("openat2", path, directory, nameWord(path), bytes, bytes.length);
  },

  close(fd) {
    try {
      call("close", undefined, fd);
    } catch (error) {
      if (isErrno(error, Errno.EBADF)) throw error;
    }
  },

  read: (fd, buffer) => retried("read", undefined, fd, buffer, buffer.length),
  pread: (fd, buffer, offsetBytes) =>
    retried("pread64", undefined, fd, buffer, buffer.length, offsetBytes),
  pwrite: (fd, buffer, offsetBytes) =>
    retried("pwrite64", undefined, fd, buffer, buffer.length, offsetBytes),
  write: (fd, buffer) => retried("write", undefined, fd, buffer, buffer.length),

  readAhead(fd, offsetBytes, lengthBytes) {
    try {
      call("fadvise64", undefined, fd, offsetBytes, lengthBytes, POSIX_FADV_WILLNEED);
    } catch {
      // It is advice.
    }
  },

  fsync(fd) {
    retried("fsync", undefined, fd);
  },
  syncfs(fd) {
    call("syncfs", undefined, fd);
  },
  ftruncate(fd, lengthBytes) {
    retried("ftruncate", undefined, fd, lengthBytes);
  },
  lseek: (fd, offsetBytes, whence) => call("lseek", undefined, fd, offsetBytes, whence),

  statx(directory, path, flags): FileStatus {
    const { bytes, view } = status;
    const mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    call("statx", path, directory, nameWord(path), flags, mask, bytes);
    // Read field by field: this is called so often that a decoder's loop would show.
    const at = statxFields.fields;
    const deviceMajor = view.getUint32(at.deviceMajor.offset, true);
    const deviceMinor = view.getUint32(at.deviceMinor.offset, true);
    const nodeMajor = view.getUint32(at.nodeMajor.offset, true);
    const nodeMinor = view.getUint32(at.nodeMinor.offset, true);
    return {
      mode: view.getUint16(at.mode.offset, true),
      owner: view.getUint32(at.owner.offset, true),
      inode: view.getBigUint64(at.inode.offset, true),
      sizeBytes: Number(view.getBigUint64(at.sizeBytes.offset, true)),
      allocatedBytes: Number(view.getBigUint64(at.blocks.offset, true)) * 512,
      linkCount: view.getUint32(at.linkCount.offset, true),
      bornSeconds: moment(view, at.bornSeconds.offset, at.bornNanoseconds.offset),
      changedSeconds: moment(view, at.changedSeconds.offset, at.changedNanoseconds.offset),
      device: `${deviceMajor}:${deviceMinor}`,
      nodeDevice: `${nodeMajor}:${nodeMinor}`,
      mountId: Number(view.getBigUint64(at.mountId.offset, true)),
    };
  },

  readDirectory(fd, atLeast = Number.POSITIVE_INFINITY) {
    const found: string[] = [];
    while (found.length < atLeast) {
      const filled = call("getdents64", undefined, fd, names, names.length);
      if (filled === 0) return found;
      // Folders of /proc have hundreds of entries, so nothing is made of one but its name.
      for (let at = 0; at < filled; ) {
        const start = at + dirent.name;
        const name = fromUtf8(names.subarray(start, names.indexOf(0, start)));
        if (name !== "." && name !== "..") found.push(name);
        at += nameView.getUint16(at + dirent.recordLength, true);
      }
    }
    return found;
  },

  readlink(path) {
    const length = call("readlinkat", path, AT_FDCWD, nameWord(path), names, names.length);
    return fromUtf8(names.subarray(0, length));
  },
  mkdirat(directory, name, mode) {
    call("mkdirat", name, directory, nameWord(name), mode);
  },
  chmod(path, mode) {
    call("fchmodat", path, AT_FDCWD, nameWord(path), mode);
  },
  unlink(path) {
    call("unlinkat", path, AT_FDCWD, nameWord(path), 0);
  },
  pageBytes,

  ioctl: (fd, request, argument) => call("ioctl", undefined, fd, request, argument),
  fcntl: (fd, command, argument) => call("fcntl", undefined, fd, command, argument),

  fstatfs(fd): FilesystemSpace {
    const buffer = statfsFields.encode({});
    retried("fstatfs", undefined, fd, buffer);
    const { blockBytes, blocks, availableBlocks, ...kind } = statfsFields.decode(buffer);
    return {
      ...kind,
      totalBytes: Number(blocks * blockBytes),
      availableBytes: Number(availableBlocks * blockBytes),
    };
  },

  tryLock(fd) {
    try {
      retried("flock", undefined, fd, LOCK_EX | LOCK_NB);
      return true;
    } catch (error) {
      if (isErrno(error, Errno.EAGAIN)) return false;
      throw error;
    }
  },
};
