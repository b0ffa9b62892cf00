import { architecture } from "#native";
import type { EventCalls } from "./calls/event-calls.ts";
import type { FileCalls, FileStatus } from "./calls/file-calls.ts";
import type { MountCalls } from "./calls/mount-calls.ts";
import type { PageCalls } from "./calls/page-calls.ts";
import type { ProcessCalls } from "./calls/process-calls.ts";
import type { ProgramCalls } from "./calls/program-calls.ts";
import type { SignalCalls } from "./calls/signal-calls.ts";
import type { TimeCalls } from "./calls/time-calls.ts";

/**
 * The seam: every effect of the program goes through this interface. `linuxKernel`
 * is the real one; tests put a simulated kernel behind it.
 *
 * Each method is one system call, synchronous, and throws a SystemError with the
 * errno when the call fails. Paths are absolute or relative to the working
 * directory; directory descriptors make the `at` calls safe against links that
 * somebody swaps meanwhile.
 */
export interface Kernel
  extends FileCalls,
    PageCalls,
    MountCalls,
    EventCalls,
    TimeCalls,
    ProcessCalls,
    SignalCalls,
    ProgramCalls {}

export type { FilesystemSpace, FileStatus } from "./calls/file-calls.ts";
export type { ProgramResult } from "./calls/program-calls.ts";

/** fcntl.h; identical on x86-64 and arm64 unless the architecture is named. */
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
const onArm64 = architecture === "arm64";
export const O_DIRECT = onArm64 ? 0o200000 : 0o40000;
export const O_DIRECTORY = onArm64 ? 0o40000 : 0o200000;
export const O_NOFOLLOW = onArm64 ? 0o100000 : 0o400000;

export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_SYMLINK_NOFOLLOW = 0x100;
/** Answers from what is known already: a hung FUSE or network filesystem is not asked. */
export const AT_STATX_DONT_SYNC = 0x4000;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** linux/openat2.h */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_CACHED = 0x20;

/** linux/mount.h */
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOATIME = 1024;
export const MNT_DETACH = 2;
export const MNT_EXPIRE = 4;
export const UMOUNT_NOFOLLOW = 8;

/** linux/stat.h */
const S_IFMT = 0o170000;
export const isDirectory = (status: FileStatus): boolean => (status.mode & S_IFMT) === 0o040000;
export const isRegularFile = (status: FileStatus): boolean => (status.mode & S_IFMT) === 0o100000;
export const isSymbolicLink = (status: FileStatus): boolean => (status.mode & S_IFMT) === 0o120000;
export const isBlockDevice = (status: FileStatus): boolean => (status.mode & S_IFMT) === 0o060000;
