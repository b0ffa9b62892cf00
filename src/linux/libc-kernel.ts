import { read } from "bun:ffi";
import { Errno, isErrno, SystemError } from "./errno.ts";
import type { FilesystemSpace, FileStatus, Kernel, ProgramResult } from "./kernel.ts";
import { withFd } from "./files.ts";
import { O_CLOEXEC } from "./kernel.ts";
import { asPointer, openCommon, openRare } from "./libc.ts";
import { i32, raw, struct, u16, u32, u64 } from "./struct.ts";
import { cString, fromUtf8, textUntilNul } from "./text.ts";

/** asm-generic/unistd.h; these have one number on every architecture, or are named. */
const SYS_openat2 = 437;
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_rt_sigaction = process.arch === "arm64" ? 134 : 13;
const SYS_getdents64 = process.arch === "arm64" ? 61 : 217;
const SYS_fcntl = process.arch === "arm64" ? 25 : 72;
const SYS_pipe2 = process.arch === "arm64" ? 59 : 293;
const SYS_fstatfs = process.arch === "arm64" ? 44 : 138;
const SYS_fadvise64 = process.arch === "arm64" ? 223 : 221;
const SYS_mmap = process.arch === "arm64" ? 222 : 9;
const SYS_munmap = process.arch === "arm64" ? 215 : 11;
const SYS_mincore = process.arch === "arm64" ? 232 : 27;

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

/** linux/netlink.h, struct sockaddr_nl; group 1 is the kernel's own broadcast. */
const sockaddrNetlink = struct(12, { family: u16(0), portId: u32(4), groups: u32(8) });
const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = O_CLOEXEC;
const SOCK_NONBLOCK = 0o4000;
const NETLINK_KOBJECT_UEVENT = 15;

/** poll.h, struct pollfd */
const pollFd = struct(8, { fd: i32(0), events: u16(4), revents: u16(6) });
const POLLIN = 1;
const POLLOUT = 4;

/** asm-generic/signal.h, the same on x86-64 and arm64 */
const signalCount = 64;
const SIGCHLD = 17;
/** Nobody can hold off SIGKILL and SIGSTOP; the others do not end a program by default (signal(7)). */
const harmless = new Set([
  9 /* SIGKILL */, 17 /* SIGCHLD */, 18 /* SIGCONT */, 19 /* SIGSTOP */, 20 /* SIGTSTP */,
  21 /* SIGTTIN */, 22 /* SIGTTOU */, 23 /* SIGURG */, 28 /* SIGWINCH */,
]);
/**
 * What a fault of the program raises. Bun has handlers for them, which end it; where they are ignored, the
 * kernel ends it all the same, but only for a fault (force_sig(), kernel/signal.c).
 */
const crashes = new Set([
  4 /* SIGILL */, 5 /* SIGTRAP */, 6 /* SIGABRT */, 7 /* SIGBUS */, 8 /* SIGFPE */,
  11 /* SIGSEGV */, 31 /* SIGSYS */,
]);
const SIG_DFL = 0n;
const SIG_IGN = 1n;
const SA_NOCLDWAIT = 2n;

/** asm-generic/signal.h, struct sigaction of the kernel: libc has one of its own, and keeps signals for itself. */
const kernelSigaction = struct(32, { handler: u64(0), flags: u64(8) });
const signalSetBytes = 8;

/** linux/mount.h */
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;

const pipeEnds = struct(8, { from: i32(0), into: i32(4) });

/** What a child of this program may say: a line for each process, and there are at most some millions. */
const longestAnswerBytes = 1024 * 1024;

/** linux/fadvise.h */
const POSIX_FADV_WILLNEED = 3;

/** linux/mman.h */
const PROT_READ = 1;
const MAP_SHARED = 1;

/** What is mapped to see whether it is there; part of a page where pages are larger. */
const pageBytes = 4096;

/** Most disks answer so soon that any sleep would be longer. */
const closelyMs = 0.5;

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Some 100 entries of a directory, or where a link leads: PATH_MAX of linux/limits.h. */
const nameBufferBytes = 4096;

/** linux/dirent.h, struct linux_dirent64: where the record length and the name stand. */
const dirent = struct(19, { recordLength: u16(16), type: raw(18, 1) });

/** Bun's error for a program that could not be started, as the system call that failed. */
function spawned<T>(program: string, spawn: () => T): T {
  try {
    return spawn();
  } catch (error) {
    const errno = error instanceof Error && "errno" in error ? error.errno : null;
    if (typeof errno !== "number") throw error;
    throw new SystemError("execve", Math.abs(errno), program);
  }
}

/**
 * Memory that the kernel reads or fills during one call. Calls are synchronous, so each kind of struct
 * has one for all of them.
 */
const scratch = (sizeBytes: number): { bytes: Uint8Array; view: DataView } => {
  const bytes = new Uint8Array(new ArrayBuffer(sizeBytes));
  return { bytes, view: new DataView(bytes.buffer) };
};

/** What a started program finds: only what it needs to find others. */
const cleanEnvironment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Linux through libc and bun:ffi. One is enough for a process; it holds no state but the library. */
export class LibcKernel implements Kernel {
  /** The path that starts this program; null in a library. */
  readonly #program: string | null;
  readonly #libc = openCommon();
  #opened: ReturnType<typeof openRare> | undefined;
  readonly #errno = this.#libc.__errno_location();
  readonly #openHow = scratch(openHow.sizeBytes);
  readonly #statx = scratch(statxFields.sizeBytes);
  readonly #names = new Uint8Array(new ArrayBuffer(nameBufferBytes));

  constructor(program: string | null = null) {
    this.#program = program;
  }

  get #rare(): ReturnType<typeof openRare> {
    this.#opened ??= openRare();
    return this.#opened;
  }

  #lastErrno(): number {
    return this.#errno === null ? 0 : read.i32(this.#errno);
  }

  /** Turns libc's -1 into the errno it left behind. */
  #check(result: number | bigint, call: string, subject?: string): number {
    if (result === -1) throw new SystemError(call, this.#lastErrno(), subject);
    return Number(result);
  }

  /**
   * The same for a call that a signal may interrupt before it has done anything, and that is then to be
   * made again (signal(7)). Not for ioctl and mount: what those had done by then, nobody says.
   */
  #retried(call: string, subject: string | undefined, make: () => number | bigint): number {
    for (;;) {
      const result = make();
      if (result !== -1) return Number(result);
      if (this.#lastErrno() !== Errno.EINTR) this.#check(result, call, subject);
    }
  }

  open(path: string, flags: number, mode = 0): number {
    const name = cString(path);
    return this.#retried("open", path, () => this.#libc.open(name, flags | O_CLOEXEC, mode));
  }

  openBeneath(directory: number, path: string, flags: number, resolve: number, mode = 0): number {
    const { bytes, view } = this.#openHow;
    view.setUint32(openHow.fields.flags.offset, flags | O_CLOEXEC, true);
    view.setUint32(openHow.fields.mode.offset, mode, true);
    view.setUint32(openHow.fields.resolve.offset, resolve, true);
    const name = cString(path);
    return this.#retried("openat2", path, () =>
      this.#libc.syscall(SYS_openat2, directory, name, bytes, bytes.length, 0, 0),
    );
  }

  close(fd: number): void {
    if (this.#libc.close(fd) === -1 && this.#lastErrno() === Errno.EBADF) this.#check(-1, "close");
  }

  read(fd: number, buffer: Uint8Array): number {
    return this.#retried("read", undefined, () => this.#libc.read(fd, buffer, buffer.length));
  }

  pread(fd: number, buffer: Uint8Array, offsetBytes: number): number {
    return this.#retried("pread", undefined, () =>
      this.#libc.pread(fd, buffer, buffer.length, offsetBytes),
    );
  }

  readAhead(fd: number, offsetBytes: number, lengthBytes: number): void {
    const [offset, length] = [asPointer(offsetBytes), asPointer(lengthBytes)];
    this.#libc.syscall(SYS_fadvise64, fd, offset, length, POSIX_FADV_WILLNEED, 0, 0);
  }

  pageComes(fd: number, offsetBytes: number, waitMs: number): boolean {
    const { syscall } = this.#libc;
    const [page, isThere] = [asPointer(pageBytes), new Uint8Array(new ArrayBuffer(1))];
    const address = syscall(SYS_mmap, 0, page, asPointer(PROT_READ), MAP_SHARED, fd, offsetBytes);
    this.#check(address, "mmap");
    try {
      this.readAhead(fd, offsetBytes, pageBytes);
      for (const startMs = this.nowMs(); ; ) {
        this.#check(syscall(SYS_mincore, address, page, isThere, 0, 0, 0), "mincore");
        if (((isThere[0] ?? 0) & 1) === 1) return true;
        const tookMs = this.nowMs() - startMs;
        if (tookMs > waitMs) return false;
        if (tookMs > closelyMs) this.waitReadable([], 1);
      }
    } finally {
      syscall(SYS_munmap, address, page, null, 0, 0, 0);
    }
  }

  pwrite(fd: number, buffer: Uint8Array, offsetBytes: number): number {
    return this.#retried("pwrite", undefined, () =>
      this.#rare.pwrite(fd, buffer, buffer.length, offsetBytes),
    );
  }

  write(fd: number, buffer: Uint8Array): number {
    return this.#retried("write", undefined, () => this.#libc.write(fd, buffer, buffer.length));
  }

  fsync(fd: number): void {
    this.#retried("fsync", undefined, () => this.#rare.fsync(fd));
  }

  syncfs(fd: number): void {
    this.#check(this.#rare.syncfs(fd), "syncfs");
  }

  ftruncate(fd: number, lengthBytes: number): void {
    this.#retried("ftruncate", undefined, () => this.#rare.ftruncate(fd, lengthBytes));
  }

  lseek(fd: number, offsetBytes: number, whence: number): number {
    return this.#check(this.#rare.lseek(fd, offsetBytes, whence), "lseek");
  }

  statx(directory: number, path: string, flags: number): FileStatus {
    const { bytes, view } = this.#statx;
    const mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    this.#check(this.#libc.statx(directory, cString(path), flags, mask, bytes), "statx", path);
    // Read field by field: this is called so often that a decoder's loop would show.
    const at = statxFields.fields;
    const deviceMajor = view.getUint32(at.deviceMajor.offset, true);
    const deviceMinor = view.getUint32(at.deviceMinor.offset, true);
    const nodeMajor = view.getUint32(at.nodeMajor.offset, true);
    const nodeMinor = view.getUint32(at.nodeMinor.offset, true);
    const moment = (seconds: { offset: number }, nanoseconds: { offset: number }): number =>
      Number(view.getBigInt64(seconds.offset, true)) +
      view.getUint32(nanoseconds.offset, true) / 1e9;
    return {
      mode: view.getUint16(at.mode.offset, true),
      owner: view.getUint32(at.owner.offset, true),
      inode: view.getBigUint64(at.inode.offset, true),
      sizeBytes: Number(view.getBigUint64(at.sizeBytes.offset, true)),
      allocatedBytes: Number(view.getBigUint64(at.blocks.offset, true)) * 512,
      linkCount: view.getUint32(at.linkCount.offset, true),
      bornSeconds: moment(at.bornSeconds, at.bornNanoseconds),
      changedSeconds: moment(at.changedSeconds, at.changedNanoseconds),
      device: `${deviceMajor}:${deviceMinor}`,
      nodeDevice: `${nodeMajor}:${nodeMinor}`,
      mountId: Number(view.getBigUint64(at.mountId.offset, true)),
    };
  }

  readDirectory(fd: number, atLeast = Number.POSITIVE_INFINITY): string[] {
    const buffer = this.#names;
    const names: string[] = [];
    while (names.length < atLeast) {
      const result = this.#libc.syscall(
        SYS_getdents64,
        fd,
        buffer,
        asPointer(buffer.length),
        0,
        0,
        0,
      );
      const filled = this.#check(result, "getdents64");
      if (filled === 0) return names;
      for (let at = 0; at < filled; ) {
        const { recordLength } = dirent.decode(buffer.subarray(at));
        const name = textUntilNul(buffer.subarray(at + dirent.sizeBytes, at + recordLength));
        if (name !== "." && name !== "..") names.push(name);
        at += recordLength;
      }
    }
    return names;
  }

  readlink(path: string): string {
    const buffer = this.#names;
    const length = this.#libc.readlink(cString(path), buffer, buffer.length);
    return fromUtf8(buffer.subarray(0, this.#check(length, "readlink", path)));
  }

  mkdirat(directory: number, name: string, mode: number): void {
    this.#check(this.#rare.mkdirat(directory, cString(name), mode), "mkdirat", name);
  }

  chmod(path: string, mode: number): void {
    this.#check(this.#rare.chmod(cString(path), mode), "chmod", path);
  }

  unlink(path: string): void {
    this.#check(this.#rare.unlink(cString(path)), "unlink", path);
  }

  umask(mask: number): number {
    return this.#libc.umask(mask);
  }

  geteuid(): number {
    return this.#libc.geteuid();
  }

  pageBytes(): number {
    return this.#rare.getpagesize();
  }

  ioctl(fd: number, request: number, argument: Uint8Array | number): number {
    return this.#check(
      this.#libc.ioctl(fd, request, typeof argument === "number" ? asPointer(argument) : argument),
      "ioctl",
    );
  }

  fcntl(fd: number, command: number, argument: Uint8Array | number): number {
    const word = typeof argument === "number" ? asPointer(argument) : argument;
    const result = this.#libc.syscall(SYS_fcntl, fd, asPointer(command), word, 0, 0, 0);
    return this.#check(result, "fcntl");
  }

  fstatfs(fd: number): FilesystemSpace {
    const buffer = statfsFields.encode({});
    this.#retried("fstatfs", undefined, () =>
      this.#libc.syscall(SYS_fstatfs, fd, buffer, null, 0, 0, 0),
    );
    const { blockBytes, blocks, availableBlocks, ...kind } = statfsFields.decode(buffer);
    return {
      ...kind,
      totalBytes: Number(blocks * blockBytes),
      availableBytes: Number(availableBlocks * blockBytes),
    };
  }

  tryLock(fd: number): boolean {
    try {
      this.#retried("flock", undefined, () => this.#libc.flock(fd, LOCK_EX | LOCK_NB));
      return true;
    } catch (error) {
      if (error instanceof SystemError && error.errno === Errno.EAGAIN) return false;
      throw error;
    }
  }

  mount(source: string, target: string, type: string, flags: number, data: string): void {
    const result = this.#libc.mount(
      cString(source),
      cString(target),
      cString(type),
      flags,
      cString(data),
    );
    this.#check(result, "mount", source);
  }

  unmount(target: string, flags: number): void {
    this.#check(this.#rare.umount2(cString(target), flags), "umount2", target);
  }

  fsopen(type: string): number {
    const name = cString(type);
    const result = this.#rare.syscall(
      SYS_fsopen,
      name,
      asPointer(FSOPEN_CLOEXEC),
      null,
      null,
      null,
    );
    return this.#check(result, "fsopen", type);
  }

  fsconfig(context: number, name: string, value: string | null): void {
    const command = asPointer(value === null ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING);
    const text = value === null ? null : cString(value);
    const fd = asPointer(context);
    const result = this.#rare.syscall(SYS_fsconfig, fd, command, cString(name), text, null);
    this.#check(result, "fsconfig", name);
  }

  openUevents(): number {
    const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const fd = this.#check(
      this.#rare.socket(AF_NETLINK, type, NETLINK_KOBJECT_UEVENT),
      "socket",
      "uevents",
    );
    const address = sockaddrNetlink.encode({ family: AF_NETLINK, groups: 1 });
    try {
      this.#check(this.#rare.bind(fd, address, address.length), "bind", "uevents");
      return fd;
    } catch (error) {
      this.close(fd);
      throw error;
    }
  }

  openInotify(): number {
    return this.#check(this.#rare.inotify_init1(O_CLOEXEC | SOCK_NONBLOCK), "inotify_init1");
  }

  watchDirectory(inotify: number, path: string, mask: number): void {
    const result = this.#rare.inotify_add_watch(inotify, cString(path), mask);
    this.#check(result, "inotify_add_watch", path);
  }

  waitReadable(fds: readonly number[], timeoutMs: number): boolean {
    const buffer = new Uint8Array(new ArrayBuffer(Math.max(1, fds.length) * pollFd.sizeBytes));
    fds.forEach((fd, i) => {
      pollFd.patch(buffer.subarray(i * pollFd.sizeBytes), { fd, events: POLLIN });
    });
    try {
      return this.#check(this.#libc.poll(buffer, fds.length, Math.ceil(timeoutMs)), "poll") > 0;
    } catch (error) {
      // A signal is one of the things worth waking up for; the caller looks again.
      if (isErrno(error, Errno.EINTR)) return true;
      throw error;
    }
  }

  waitWritable(fd: number, timeoutMs: number): boolean {
    const buffer = pollFd.encode({ fd, events: POLLOUT });
    const timeout = timeoutMs === Number.POSITIVE_INFINITY ? -1 : Math.ceil(timeoutMs);
    return this.#retried("poll", undefined, () => this.#libc.poll(buffer, 1, timeout)) > 0;
  }

  run(program: string, args: readonly string[], inherited: readonly number[]): ProgramResult {
    const child = this.#waitingForChildren(() =>
      spawned(program, () =>
        Bun.spawnSync([program, ...args], {
          // mkfs.btrfs looks for the sources of all mounts ("tmpfs", "proc") in its working directory.
          cwd: "/",
          env: cleanEnvironment,
          stdio: ["ignore", "pipe", "pipe", ...inherited],
        }),
      ),
    );
    return {
      exitCode: child.signalCode === undefined ? child.exitCode : null,
      signal: child.signalCode === undefined ? null : String(child.signalCode),
      output: `${child.stdout.toString()}${child.stderr.toString()}`,
    };
  }

  ask(words: readonly string[], waitMs: number): string | null {
    return this.#ask(words, waitMs, null);
  }

  askAbout(
    path: string,
    flags: number,
    words: readonly string[],
    waitMs: number,
    goesOn?: () => boolean,
  ): string | null {
    return withFd(this, this.open(path, flags), (fd) => this.#ask(words, waitMs, fd, goesOn));
  }

  /** With `kept` as its standard input the child is let live, and ends when it has its answer. */
  #ask(
    words: readonly string[],
    waitMs: number,
    kept: number | null,
    goesOn: () => boolean = () => false,
  ): string | null {
    const program = this.#program;
    if (program === null || waitMs <= 0) return null;
    const [from, into] = this.#pipe();
    let child: { kill(signal: "SIGKILL"): void; unref(): void } | null = null;
    try {
      child = spawned(program, () =>
        Bun.spawn([program, ...words], {
          cwd: "/",
          env: cleanEnvironment,
          stdio: [kept ?? "ignore", into, "ignore"],
        }),
      );
    } finally {
      this.close(into);
      if (child === null) this.close(from);
    }
    try {
      return fromUtf8(this.#readAll(from, waitMs, goesOn));
    } finally {
      // Nobody waits for it: whoever asked a daemon that has the question dies only when that answers.
      if (kept === null) child.kill("SIGKILL");
      child.unref();
      this.close(from);
    }
  }

  /** Both ends of a pipe (pipe2(2)). */
  #pipe(): readonly [from: number, into: number] {
    const ends = pipeEnds.encode({});
    const none = asPointer(0);
    const made = this.#rare.syscall(SYS_pipe2, ends, asPointer(O_CLOEXEC), none, none, none);
    this.#check(made, "pipe2");
    const { from, into } = pipeEnds.decode(ends);
    return [from, into];
  }

  /** All that can be read, until the other end is closed or the time is over, which `goesOn` may give anew. */
  #readAll(fd: number, waitMs: number, goesOn: () => boolean): Uint8Array {
    const bytes: number[] = [];
    const buffer = new Uint8Array(new ArrayBuffer(nameBufferBytes));
    for (let deadlineMs = this.nowMs() + waitMs; ; ) {
      const leftMs = deadlineMs - this.nowMs();
      if (leftMs <= 0 || !this.waitReadable([fd], leftMs)) {
        if (!goesOn()) break;
        deadlineMs = this.nowMs() + waitMs;
        continue;
      }
      // A signal ends a wait too; a look that does not wait tells.
      if (!this.waitReadable([fd], 0)) continue;
      const count = this.read(fd, buffer);
      if (count === 0 || bytes.length > longestAnswerBytes) break;
      bytes.push(...buffer.subarray(0, count));
    }
    return Uint8Array.from(bytes);
  }

  uninterrupted<T>(work: () => T): T {
    const held = this.#deadlySignals();
    const ignore = kernelSigaction.encode({ handler: SIG_IGN });
    for (const { signal } of held) this.#sigaction(signal, ignore, null);
    try {
      return work();
    } finally {
      for (const { signal, action } of held) this.#sigaction(signal, action, null);
    }
  }

  /**
   * The signals that would end the program now, and what is done on each. Who has a handler for one does what is
   * right on it: JavaScriptCore halts its threads by one. (All threads share this, but not what
   * is blocked, and the threads are not ours.)
   */
  #deadlySignals(): { signal: number; action: Uint8Array }[] {
    const deadly: { signal: number; action: Uint8Array }[] = [];
    for (let signal = 1; signal <= signalCount; signal++) {
      if (harmless.has(signal)) continue;
      const action = kernelSigaction.encode({});
      this.#sigaction(signal, null, action);
      const { handler } = kernelSigaction.decode(action);
      if (handler === SIG_DFL || (handler !== SIG_IGN && crashes.has(signal))) {
        deadly.push({ signal, action });
      }
    }
    return deadly;
  }

  /** rt_sigaction(2) */
  #sigaction(signal: number, action: Uint8Array | null, old: Uint8Array | null): void {
    const { syscall } = this.#libc;
    this.#check(
      syscall(SYS_rt_sigaction, signal, action, old, signalSetBytes, 0, 0),
      "rt_sigaction",
    );
  }

  /**
   * Where SIGCHLD is ignored, which a program inherits from who starts it, the kernel reaps a child at once
   * and its exit status is lost: wait(2), "errors".
   */
  #waitingForChildren<T>(work: () => T): T {
    const callers = kernelSigaction.encode({});
    this.#sigaction(SIGCHLD, null, callers);
    const { handler, flags } = kernelSigaction.decode(callers);
    if (handler !== SIG_IGN && (flags & SA_NOCLDWAIT) === 0n) return work();
    this.#sigaction(SIGCHLD, kernelSigaction.encode({ handler: SIG_DFL }), null);
    try {
      return work();
    } finally {
      this.#sigaction(SIGCHLD, callers, null);
    }
  }

  nowMs(): number {
    return performance.now();
  }

  randomId(): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(16));
  }
}
