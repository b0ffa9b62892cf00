import { dlopen, type FFIFunction, FFIType, type Pointer } from "bun:ffi";

const { ptr, int, u32: uint, u64_fast: size, i64_fast: ssize } = FFIType;

/** What every run calls. Each wrapper takes time to make, so those of rarer calls wait for their first use. */
const common = {
  open: { args: [ptr, int, uint], returns: int },
  syscall: { args: [ssize, ssize, ptr, ptr, size, ssize, ssize], returns: ssize },
  close: { args: [int], returns: int },
  read: { args: [int, ptr, size], returns: ssize },
  pread: { args: [int, ptr, size, ssize], returns: ssize },
  write: { args: [int, ptr, size], returns: ssize },
  statx: { args: [int, ptr, int, uint, ptr], returns: int },
  readlink: { args: [ptr, ptr, size], returns: ssize },
  umask: { args: [uint], returns: uint },
  geteuid: { args: [], returns: uint },
  ioctl: { args: [int, size, ptr], returns: int },
  flock: { args: [int, int], returns: int },
  mount: { args: [ptr, ptr, ptr, size, ptr], returns: int },
  poll: { args: [ptr, size, int], returns: int },
  __errno_location: { args: [], returns: ptr },
} as const;

const rare = {
  /** Of machine words, for calls that not every C library has a function for. */
  syscall: { args: [ssize, ptr, ptr, ptr, ptr, ptr], returns: ssize },
  pwrite: { args: [int, ptr, size, ssize], returns: ssize },
  fsync: { args: [int], returns: int },
  syncfs: { args: [int], returns: int },
  ftruncate: { args: [int, ssize], returns: int },
  lseek: { args: [int, ssize, int], returns: ssize },
  mkdirat: { args: [int, ptr, uint], returns: int },
  chmod: { args: [ptr, uint], returns: int },
  unlink: { args: [ptr], returns: int },
  getpagesize: { args: [], returns: int },
  umount2: { args: [ptr, int], returns: int },
  socket: { args: [int, int, int], returns: int },
  bind: { args: [int, ptr, uint], returns: int },
  inotify_init1: { args: [int], returns: int },
  inotify_add_watch: { args: [int, ptr, uint], returns: int },
} as const;

/**
 * Where systems keep the C library. By absolute path only: Bun looks for a bare name that the loader does
 * not know in the working directory, and whoever may write there would have a library run as root.
 */
function libcPaths(): readonly string[] {
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const glibc = [`/lib/${machine}-linux-gnu`, "/lib64", "/usr/lib64", "/usr/lib", "/lib"];
  // musl is its own loader, which is there under this name on every system that has it.
  return [...glibc.map((folder) => `${folder}/libc.so.6`), `/lib/ld-musl-${machine}.so.1`];
}

function openLibc<D extends Record<string, FFIFunction>>(declarations: D) {
  let reason: unknown = null;
  for (const path of libcPaths()) {
    try {
      return dlopen(path, declarations).symbols;
    } catch (error) {
      // The first says most: what holds for all of them, such as a limit, or what the usual place lacks.
      reason ??= error;
    }
  }
  throw new UnreachableKernel(reason);
}

export const openCommon = () => openLibc(common);
export const openRare = () => openLibc(rare);

/** No system call can be made: there is no C library, or no memory that code may be put into. */
export class UnreachableKernel extends Error {
  override readonly name = "UnreachableKernel";
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** A number where the declaration says pointer: a machine word is a machine word. */
export const asPointer = (word: number): Pointer => word as Pointer;
