/** Error numbers of Linux, the same on x86-64 and arm64 (asm-generic/errno-base.h, errno.h). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EUCLEAN: 117,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  ECANCELED: 125,
} as const;

const names = new Map<number, string>(Object.entries(Errno).map(([name, errno]) => [errno, name]));

/** "ENOENT" for 2; "errno 4711" for a number without a name here. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`;

declare global {
  interface ErrorConstructor {
    /** How many callers an error remembers; all three engines know it. */
    stackTraceLimit: number;
  }
}

/** No answer of the kernel to a right question: the program made the call wrongly. */
const faults: readonly number[] = [Errno.EBADF, Errno.EFAULT];

/**
 * A system call that failed. It is the `cause` of what the rooms above throw, so
 * that the number the kernel gave is never lost on the way up. Most failures are an answer, as that nothing is there,
 * and say by themselves what was asked; who called takes longer to find out than the call took, so only a
 * fault of ours remembers that.
 */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly errno: number;
  /** The call, for example "openat". */
  readonly call: string;
  /** The path or thing it was made on, when there was one. */
  readonly subject: string | undefined;

  constructor(call: string, errno: number, subject?: string) {
    const limit = Error.stackTraceLimit;
    if (!faults.includes(errno)) Error.stackTraceLimit = 0;
    super(`${call}${subject === undefined ? "" : ` ${subject}`}: ${errnoName(errno)}`);
    Error.stackTraceLimit = limit;
    this.errno = errno;
    this.call = call;
    this.subject = subject;
  }
}

/** True when `error` is a failed system call with one of these numbers. */
export function isErrno(error: unknown, ...errnos: readonly number[]): error is SystemError {
  return error instanceof SystemError && errnos.includes(error.errno);
}

/** The name of the errno, for a message that says already what was done to what. */
export const reasonOf = (error: unknown): string =>
  error instanceof SystemError ? errnoName(error.errno) : String(error);
