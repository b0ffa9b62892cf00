import { errnoName, SystemError as FailedCall } from "../linux/errno.ts";

/** What a call was made on, as its caller named it. */
export interface Places {
  readonly path: string;
  /** The other path, of a call with two. */
  readonly dest?: string;
}

/** A system call that failed, with the fields that Node's own errors have. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** "ENOENT" */
  readonly code: string;
  /** The number of the errno, negative: -2 for ENOENT. */
  readonly errno: number;
  /** "openat"; of an ioctl its own name, "BTRFS_IOC_SUBVOL_CREATE". */
  readonly syscall: string;
  /** The path that was given. */
  readonly path: string;
  /** The second path that was given, of a call that takes two. */
  declare readonly dest?: string;

  constructor({ message, errno, call }: FailedCall, { path, dest }: Places) {
    super(message);
    this.code = errnoName(errno);
    this.errno = -errno;
    this.syscall = call;
    this.path = path;
    if (dest !== undefined) this.dest = dest;
  }
}

/** Does what was asked for; a system call that fails on the way is told as a caller of the library knows it. */
export function told<T>(places: Places, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof FailedCall) throw new SystemError(error, places);
    throw error;
  }
}
