import { dlopen, type FFIFunction, FFIType, type Pointer } from "bun:ffi";

const { ptr, int, u32: uint, u64_fast: size, i64_fast: ssize } = FFIType;

/** What every run calls. Each wrapper takes time to make, so those of rarer calls wait for their first use. */
const common = {
  open: { args: [ptr, int, uint], returns: int },
  syscall: { args: [ssize, int, ptr, ptr, size], returns: ssize },
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
  signal: { args: [int, ptr], returns: ptr },
  __errno_location: { args: [], returns: ptr },
} as const;

const rare = {
  pwrite: { args: [int, ptr, size, ssize], returns: ssize },
  fsync: { args: [int], returns: int },
  syncfs: { args: [int], returns: int },
  ftruncate: { args: [int, ssize], returns: int },
  lseek: { args: [int, ssize, int], returns: ssize },
  mkdirat: { args: [int, ptr, uint], returns: int },
  chmod: { args: [ptr, uint], returns: int },
  unlink: { args: [ptr], returns: int },
  posix_fadvise: { args: [int, ssize, ssize, int], returns: int },
  getpagesize: { args: [], returns: int },
  umount2: { args: [ptr, int], returns: int },
  socket: { args: [int, int, int], returns: int },
  bind: { args: [int, ptr, uint], returns: int },
  inotify_init1: { args: [int], returns: int },
  inotify_add_watch: { args: [int, ptr, uint], returns: int },
  poll: { args: [ptr, size, int], returns: int },
} as const;

function openLibc<D extends Record<string, FFIFunction>>(declarations: D) {
  try {
    return dlopen("libc.so.6", declarations).symbols;
  } catch {
    // musl names its one library after the architecture.
    const architecture = process.arch === "arm64" ? "aarch64" : "x86_64";
    return dlopen(`libc.musl-${architecture}.so.1`, declarations).symbols;
  }
}

export const openCommon = () => openLibc(common);
export const openRare = () => openLibc(rare);

/** A number where the declaration says pointer: a machine word is a machine word. */
export const asPointer = (word: number): Pointer => word as Pointer;
