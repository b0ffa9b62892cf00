/** Every code an operation can fail with, and the exit status that scripts see for it. */
export const exitStatusOf = {
  internal: 1,
  usage: 2,
  layout: 2,
  "device-missing": 3,
  "device-ambiguous": 3,
  "not-a-block-device": 3,
  foreign: 4,
  unknown: 4,
  blank: 4,
  interrupted: 4,
  damaged: 5,
  wiped: 5,
  ambiguous: 5,
  hopeless: 5,
  unreadable: 5,
  shrunk: 5,
  "multi-device": 5,
  "format-failed": 6,
  "mkfs-missing": 6,
  "too-small": 6,
  "mount-failed": 7,
  "read-only": 7,
  "target-occupied": 7,
  "not-a-subvolume": 7,
  "no-space": 7,
  busy: 8,
  permission: 9,
  unsupported: 9,
} as const;

/** The exit status of a health check that could not tell, by the convention of monitoring plugins. */
export const unknownHealth = 3;

export type ErrorCode = keyof typeof exitStatusOf;

interface Details {
  /** The SystemError with the errno, where a system call was the reason. */
  readonly cause?: unknown;
  /** What the user can do next. */
  readonly hint?: string | undefined;
}

/** Why an operation on the volume did not succeed. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  /** `message` names the operation and the thing it failed on. */
  constructor(code: ErrorCode, message: string, { cause, hint }: Details = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}
