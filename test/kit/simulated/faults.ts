import { Errno, SystemError } from "../../../src/linux/errno.ts";
import type { Kernel } from "../../../src/linux/kernel.ts";
import { ioctlNames } from "./ioctl-names.ts";
import type { MkfsFault } from "./mkfs-process.ts";

/** Calls that can fail; what is left asks nothing of the machine. */
const fallible = [
  "open",
  "openBeneath",
  "read",
  "pread",
  "pwrite",
  "fsync",
  "ftruncate",
  "lseek",
  "statx",
  "readDirectory",
  "readlink",
  "mkdirat",
  "chmod",
  "unlink",
  "ioctl",
  "tryLock",
  "mount",
  "unmount",
  "openUevents",
  "openInotify",
  "watchDirectory",
  "waitReadable",
  "run",
] as const satisfies readonly (keyof Kernel)[];

type CallName = (typeof fallible)[number];
const isFallible = (name: string | symbol): name is CallName =>
  fallible.some((candidate) => candidate === name);

/** One call of a run. */
export interface Call {
  readonly name: CallName;
  /** The path it is about, or the name of an ioctl's request; else "". */
  readonly what: string;
}

/** How a call goes wrong. */
export type Fault =
  | { readonly kind: "errno"; readonly errno: number }
  /** It does half of what was asked, which is no failure. */
  | { readonly kind: "short" }
  /** It says that it did not for a reason that is no error: busy, locked, nothing there. */
  | { readonly kind: "answer"; readonly value: number | boolean }
  | { readonly kind: "mkfs"; readonly fault: MkfsFault };

/** The same from there on: every later call of the name fails too. */
export interface FaultAt {
  readonly at: number;
  readonly fault: Fault;
  readonly lasting: boolean;
}

const ENFILE = 23;
const EMFILE = 24;
const ENOLCK = 37;
const { EIO, ENOMEM, ENOENT, EACCES, ENXIO, ENOSPC, EROFS, EPERM, EINVAL, EBUSY } = Errno;
const { ENOTTY, EDQUOT, EUCLEAN, ENODEV, EEXIST, EAGAIN, ENOSYS, EFBIG } = Errno;
const { EOPNOTSUPP, EINTR, EBADF } = Errno;

/**
 * The errors that the manual pages and the kernel know for each call. Not those that only a fault of
 * the program causes, and not those that tell how things are: ENXIO of an attached loop device is a lie.
 */
const errnosOf: Record<CallName, readonly number[]> = {
  open: [ENOENT, EACCES, EIO, EMFILE, ENFILE, ENXIO, ENOMEM],
  openBeneath: [EACCES, EIO, EMFILE, EAGAIN, ENOSYS],
  read: [EIO, ENOMEM],
  pread: [EIO, ENOMEM],
  pwrite: [EIO, ENOSPC, EPERM],
  fsync: [EIO, ENOSPC],
  ftruncate: [EIO, ENOSPC, EFBIG, EPERM],
  lseek: [EIO],
  statx: [EIO, EACCES, ENOMEM, ENOENT],
  readDirectory: [EIO, ENOMEM, ENOENT],
  readlink: [EIO, ENOENT, EACCES],
  mkdirat: [EIO, ENOSPC, EROFS, EACCES, EDQUOT, EEXIST],
  chmod: [EIO, EROFS, EPERM],
  unlink: [EIO, EROFS, EPERM],
  ioctl: [],
  tryLock: [ENOLCK, EINTR],
  mount: [EIO, EINVAL, ENOMEM, EBUSY, EPERM, ENODEV, EACCES, EROFS, EUCLEAN, ENOENT, EEXIST],
  unmount: [EBUSY, EIO, EPERM],
  openUevents: [ENOMEM, EMFILE, EPERM],
  openInotify: [EMFILE, ENOMEM],
  watchDirectory: [ENOSPC, EACCES, ENOENT],
  waitReadable: [ENOMEM],
  run: [],
};

const errnosOfIoctl: Record<string, readonly number[]> = {
  BLKGETSIZE64: [EIO],
  BLKROGET: [EIO],
  BLKFLSBUF: [EACCES, EIO],
  LOOP_GET_STATUS64: [EPERM],
  LOOP_SET_CAPACITY: [ENXIO, EBUSY],
  LOOP_CONFIGURE: [EBUSY, EINVAL, ENOMEM, EBADF],
  LOOP_CLR_FD: [EBUSY, EIO],
  LOOP_CTL_GET_FREE: [ENOSPC, ENOMEM],
  FS_INFO: [ENOMEM, ENOTTY],
  DEV_INFO: [ENOMEM],
  RESIZE: [EIO, ENOSPC, EPERM, EROFS, EINVAL],
  SUBVOL_CREATE: [EIO, ENOSPC, EDQUOT, EROFS, EEXIST, ENOMEM],
  SUBVOL_GETFLAGS: [ENOMEM, EINVAL],
  SUBVOL_SETFLAGS: [EPERM, ENOSPC, EROFS, ENOMEM],
  GET_SUBVOL_INFO: [ENOMEM],
  FS_IOC_GETFLAGS: [ENOTTY, EIO],
  FS_IOC_SETFLAGS: [EIO, ENOSPC, EROFS, EPERM, EOPNOTSUPP],
};

const mkfsStepCount = 18;
const mkfsFaults: readonly Fault[] = [
  ...[ENOENT, EACCES, ENOMEM].map((errno) => ({ kind: "spawn", errno }) as const),
  ...Array.from(
    { length: mkfsStepCount },
    (_, afterSteps) => ({ kind: "exit", afterSteps }) as const,
  ),
  ...Array.from(
    { length: mkfsStepCount },
    (_, afterSteps) => ({ kind: "killed", afterSteps }) as const,
  ),
].map((fault) => ({ kind: "mkfs", fault }));

/** Every way in which this call can go wrong. */
export function faultsOf({ name, what }: Call): readonly Fault[] {
  const errnos = name === "ioctl" ? (errnosOfIoctl[what] ?? [EIO]) : errnosOf[name];
  const faults: Fault[] = errnos
    .filter((errno) => !isLie(errno, what))
    .map((errno) => ({ kind: "errno", errno }));
  if (name === "pread" || name === "pwrite") faults.push({ kind: "short" });
  if (name === "tryLock") faults.push({ kind: "answer", value: false });
  if (what === "RESIZE") faults.push({ kind: "answer", value: 8 });
  if (name === "run") faults.push(...mkfsFaults);
  return faults;
}

/** What a call is about: its first path, or the request of an ioctl. */
function subjectOf(name: CallName, args: readonly unknown[]): string {
  if (name === "ioctl") return ioctlNames.get(Number(args[1])) ?? "";
  return args.find((argument) => typeof argument === "string") ?? "";
}

/** Only the truth may say that something is not there: of the kernel's own files, and of a loop device. */
const isLie = (errno: number, path: string): boolean =>
  (errno === ENOENT && /^\/(proc|sys)\//.test(path)) ||
  (errno === ENXIO && !/^\/dev\/(?!loop)/.test(path));

/** A kernel that can be told how its next mkfs ends. The real one cannot, and is only listened to. */
type Target = Kernel & { mkfsFault?: MkfsFault | null };

/** A kernel with every call counted, and one (and perhaps its kin) going wrong. */
export class FaultyKernel {
  readonly calls: Call[] = [];
  readonly kernel: Kernel;
  readonly #target: Target;
  readonly #fault: FaultAt | null;
  #failed: CallName | null = null;

  constructor(target: Target, fault: FaultAt | null = null) {
    this.#target = target;
    this.#fault = fault;
    this.kernel = new Proxy<Kernel>(target, {
      get: (_, name: keyof Kernel) => {
        const call = target[name] as (...args: unknown[]) => unknown;
        if (!isFallible(name)) return call.bind(target);
        return (...args: unknown[]) => this.#make(name, args, (given) => call.apply(target, given));
      },
    });
  }

  #make(name: CallName, args: unknown[], call: (args: unknown[]) => unknown): unknown {
    this.calls.push({ name, what: subjectOf(name, args) });
    const fault = this.#fault;
    const isDue = fault !== null && this.calls.length - 1 === fault.at;
    if (isDue) this.#failed = name;
    if (fault === null || !(isDue || (fault.lasting && this.#failed === name))) return call(args);
    return this.#goWrong(fault.fault, name, args, call);
  }

  #goWrong(
    fault: Fault,
    name: CallName,
    args: unknown[],
    call: (args: unknown[]) => unknown,
  ): unknown {
    switch (fault.kind) {
      case "errno":
        throw new SystemError(nameOfCall[name] ?? name, fault.errno);
      case "answer":
        return fault.value;
      case "short": {
        const [fd, buffer, ...more] = args;
        const bytes = buffer as Uint8Array;
        return call([fd, bytes.subarray(0, Math.ceil(bytes.length / 2)), ...more]);
      }
      case "mkfs":
        this.#target.mkfsFault = fault.fault;
        return call(args);
    }
  }
}

/** As the real kernel's SystemError names the call. */
const nameOfCall: Partial<Record<CallName, string>> = {
  openBeneath: "openat2",
  readDirectory: "getdents64",
  tryLock: "flock",
  unmount: "umount2",
  openUevents: "socket",
  openInotify: "inotify_init1",
  watchDirectory: "inotify_add_watch",
  waitReadable: "poll",
};
