import { architecture } from "#native";

/** By call: its number on x86-64 (asm/unistd_64.h) and on arm64 (asm-generic/unistd.h). */
export const numbersOfCalls = {
  bind: [49, 200],
  clock_gettime: [228, 113],
  close: [3, 57],
  fadvise64: [221, 223],
  fchmodat: [268, 53],
  fcntl: [72, 25],
  flock: [73, 32],
  fsconfig: [431, 431],
  fsopen: [430, 430],
  fstatfs: [138, 44],
  fsync: [74, 82],
  ftruncate: [77, 46],
  getcwd: [79, 17],
  getdents64: [217, 61],
  geteuid: [107, 175],
  getrandom: [318, 278],
  inotify_add_watch: [254, 27],
  inotify_init1: [294, 26],
  ioctl: [16, 29],
  kcmp: [312, 272],
  kill: [62, 129],
  lseek: [8, 62],
  mincore: [27, 232],
  mkdirat: [258, 34],
  mmap: [9, 222],
  mount: [165, 40],
  munmap: [11, 215],
  openat: [257, 56],
  openat2: [437, 437],
  pipe2: [293, 59],
  ppoll: [271, 73],
  pread64: [17, 67],
  pwrite64: [18, 68],
  read: [0, 63],
  readlinkat: [267, 78],
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  socket: [41, 198],
  statx: [332, 291],
  syncfs: [306, 267],
  umask: [95, 166],
  umount2: [166, 39],
  unlinkat: [263, 35],
  wait4: [61, 260],
  write: [1, 64],
} as const satisfies Record<string, readonly [x64: number, arm64: number]>;

export type Call = keyof typeof numbersOfCalls;

const column = architecture === "arm64" ? 1 : 0;

/** The number of each call on this machine. */
export const numberOf = Object.fromEntries(
  Object.entries(numbersOfCalls).map(([call, numbers]) => [call, numbers[column]]),
) as Readonly<Record<Call, number>>;
