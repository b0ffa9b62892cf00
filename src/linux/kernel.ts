import { architecture } from "#native";

/**
 * The seam: every effect of the program goes through this interface. `linuxKernel`
 * is the real one; tests put a simulated kernel behind it.
 *
 * Each method is one system call, synchronous, and throws a SystemError with the
 * errno when the call fails. Paths are absolute or relative to the working
 * directory; directory descriptors make the `at` calls safe against links that
 * somebody swaps meanwhile.
 */
export interface Kernel {
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
  /**
   * Has the page at this offset read ahead and looks whether it came: mmap(2), mincore(2). False when `waitMs` passed
   * first. Waits for no disk, as every read does, and holds none of its locks.
   */
  pageComes(fd: number, offsetBytes: number, waitMs: number): boolean;
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
  umask(mask: number): number;
  geteuid(): number;
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
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  unmount(target: string, flags: number): void;
  /** fsopen(2): a descriptor in which the options of a mount are put together, without a device. */
  fsopen(type: string): number;
  /** fsconfig(2), FSCONFIG_SET_STRING, or FSCONFIG_SET_FLAG where `value` is null. EINVAL: not this one. */
  fsconfig(context: number, name: string, value: string | null): void;
  /** A socket that receives the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT). */
  openUevents(): number;
  /** An inotify(7) descriptor. */
  openInotify(): number;
  watchDirectory(inotify: number, path: string, mask: number): void;
  /** poll(2) for reading: false when `timeoutMs` passed first. */
  waitReadable(fds: readonly number[], timeoutMs: number): boolean;
  /** poll(2) for writing: the same; true also where a write would fail at once. */
  waitWritable(fd: number, timeoutMs: number): boolean;
  /**
   * kcmp(2), KCMP_FILES: whether two threads have one table of open files. False also where that is not told: the
   * kernel may know no such call, or may not let us look into them.
   */
  haveSameFiles(thread: number, other: number): boolean;
  /**
   * Runs a program to its end in the folder "/", with a clean environment; descriptors 3 and up are
   * `inherited`. Throws a SystemError ("execve") when it cannot be started.
   */
  run(program: string, args: readonly string[], inherited: readonly number[]): ProgramResult;
  /**
   * Starts this program once more with these words, and gives what it had printed when it ended, or when
   * `waitMs` had passed and it was killed. For what may not answer. null where it cannot be started: a library
   * has no program.
   */
  ask(words: readonly string[], waitMs: number): string | null;
  /**
   * The same about a file, which the child has open as its standard input, with these flags. It is not killed, and
   * keeps the file open until it has its answer. When the time is over, `goesOn` may say that it is given once more.
   */
  askAbout(
    path: string,
    flags: number,
    words: readonly string[],
    waitMs: number,
    goesOn?: () => boolean,
  ): string | null;
  /**
   * Runs `work` with every signal ignored that would end the program and can be: what is half done would
   * be worse than a moment's delay.
   */
  uninterrupted<T>(work: () => T): T;
  /** A clock that only goes forward, in milliseconds. */
  nowMs(): number;
  /** 16 random bytes. */
  randomId(): Uint8Array;
}

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

export interface ProgramResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Standard output and error together. */
  readonly output: string;
}

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
