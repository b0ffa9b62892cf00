import { Errno, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { type ErrorCode, VolumeError } from "./error.ts";
import { withoutProcOrSys } from "./proc-and-sys.ts";
import type { Verdict } from "./verdict.ts";

export type StepName =
  | "device"
  | "filesystem"
  | "mount"
  | "capacity"
  | "subvolumes"
  | "mountpoints"
  | "nocow"
  | "unmount"
  | "detach";

/** `unknown` occurs only in a plan: what only a mount could show. */
export type StepOutcome = "kept" | "changed" | "failed" | "unknown";

export interface StepResult {
  readonly outcome: StepOutcome;
  readonly detail: string;
  /** The 4096 bytes that a repair overwrote, in hexadecimal. */
  readonly replacedSector?: string;
}

export interface StepReport extends StepResult {
  readonly step: StepName;
  readonly ms: number;
}

export interface MountReport {
  readonly subvolume: string;
  readonly path: string;
}

export interface ErrorReport {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  /** Where a system call failed: the number that the kernel gave, and the call, "mount". */
  readonly errno?: number;
  readonly call?: string;
}

/** An error as reports have it. */
export function errorReport({ code, message, hint, cause }: VolumeError): ErrorReport {
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(cause instanceof SystemError ? { errno: cause.errno, call: cause.call } : {}),
  };
}

/** The answer of `up`, `plan` and `down`: one structure for the terminal, JSON and the log. */
export interface Report {
  readonly outcome: "changed" | "unchanged" | "failed";
  readonly device: string | null;
  readonly verdict: Verdict["kind"] | null;
  readonly uuid: string | null;
  /** Size of the device. */
  readonly bytes: number | null;
  readonly steps: readonly StepReport[];
  /**
   * What is mounted when the operation ends, or in a plan what would be; after a failure, what this
   * run had mounted and could not take back.
   */
  readonly mounts: readonly MountReport[];
  readonly notes: readonly string[];
  readonly error?: ErrorReport;
  readonly ms: number;
}

/** Two decimals: a clock reading has no more truth in it. */
const rounded = (ms: number): number => Math.round(ms * 100) / 100;

/** Collects what an operation finds and does, and becomes its report. */
export class Recorder {
  device: string | null = null;
  verdict: Verdict["kind"] | null = null;
  uuid: string | null = null;
  bytes: number | null = null;
  mounts: readonly MountReport[] = [];
  readonly notes: string[] = [];
  readonly #results = new Map<StepName, StepResult>();
  readonly #ms = new Map<StepName, number>();
  readonly #kernel: Kernel;
  readonly #startMs: number;
  #current: StepName = "device";
  /** Time of the parts that ran inside the one that runs now. */
  #innerMs = 0;
  #error: ErrorReport | null = null;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#startMs = kernel.nowMs();
  }

  /**
   * Runs a part of a step: its time is the step's, and a failure in it is the step's. Of a part
   * inside a part, the time counts for the inner one alone.
   */
  in<T>(step: StepName, work: () => T): T {
    this.#current = step;
    const innerMs = this.#innerMs;
    this.#innerMs = 0;
    const startMs = this.#kernel.nowMs();
    try {
      return work();
    } finally {
      const ms = this.#kernel.nowMs() - startMs;
      this.#ms.set(step, (this.#ms.get(step) ?? 0) + ms - this.#innerMs);
      this.#innerMs = innerMs + ms;
    }
  }

  /** What became of a step; said again, it replaces what was said first. */
  set(step: StepName, result: StepResult): void {
    this.#results.set(step, result);
  }

  /** These steps had changed something that was taken back after a failure. */
  retract(...steps: readonly StepName[]): void {
    for (const step of steps) {
      const result = this.#results.get(step);
      if (result?.outcome !== "changed") continue;
      this.set(step, {
        outcome: "kept",
        detail: `${result.detail}, and taken back after the failure`,
      });
    }
  }

  /** The disk of this operation, and the step `device`. */
  disk(device: string, bytes: number, result: StepResult): void {
    this.device = device;
    this.bytes = bytes;
    this.set("device", result);
  }

  /** What is on the disk, and the filesystem's UUID where that is known. */
  found(verdict: Verdict): void {
    this.verdict = verdict.kind;
    if (verdict.kind === "mounted") this.uuid = verdict.uuid;
    if (verdict.kind === "btrfs" || verdict.kind === "shrunk" || verdict.kind === "multi-device") {
      this.uuid = verdict.superblock.fsid;
    }
  }

  note(text: string): void {
    this.notes.push(text);
  }

  /** The current step failed. Anything but a VolumeError is a fault of the program: `internal`. */
  fail(error: unknown): void {
    const missing = withoutProcOrSys(this.#kernel, error);
    const known = missing ?? asVolumeError(error, this.#current);
    this.set(this.#current, { outcome: "failed", detail: known.message });
    this.#error = errorReport(known);
  }

  report(): Report {
    const steps: StepReport[] = [];
    let isChanged = false;
    for (const [step, result] of this.#results) {
      steps.push({ step, ...result, ms: rounded(this.#ms.get(step) ?? 0) });
      isChanged ||= result.outcome === "changed";
    }
    return {
      outcome: this.#error !== null ? "failed" : isChanged ? "changed" : "unchanged",
      device: this.device,
      verdict: this.verdict,
      uuid: this.uuid,
      bytes: this.bytes,
      steps,
      mounts: this.mounts,
      notes: this.notes,
      ...(this.#error === null ? {} : { error: this.#error }),
      ms: rounded(this.#kernel.nowMs() - this.#startMs),
    };
  }
}

/** QuickJS throws null where it has no memory for an error. */
const otherText = (thrown: unknown): string =>
  thrown === null ? "out of memory" : `${JSON.stringify(thrown)} was thrown`;

/** A system call that nothing above put into words: its errno decides, or else the step it failed in. */
function asVolumeError(error: unknown, step: StepName): VolumeError {
  if (error instanceof VolumeError) return error;
  if (!(error instanceof SystemError)) {
    const text = error instanceof Error ? error.message : otherText(error);
    return new VolumeError("internal", text, { cause: error });
  }
  const code = codeOfErrno.get(error.errno) ?? codeOfStep[step] ?? "mount-failed";
  const hint = hintOfErrno.get(error.errno) ?? "see the kernel's log (dmesg)";
  return new VolumeError(code, error.message, { cause: error, hint });
}

const codeOfErrno: ReadonlyMap<number, ErrorCode> = new Map([
  [Errno.EPERM, "permission"],
  [Errno.EACCES, "permission"],
  [Errno.ENOSPC, "no-space"],
  [Errno.EDQUOT, "no-space"],
  [Errno.EROFS, "read-only"],
  [Errno.EBUSY, "busy"],
  [Errno.ENOSYS, "unsupported"],
  [Errno.EMFILE, "unsupported"],
  [Errno.ENFILE, "unsupported"],
]);

const hintOfErrno: ReadonlyMap<number, string> = new Map([
  [Errno.EPERM, "run it as root"],
  [Errno.EACCES, "run it as root"],
  [Errno.EMFILE, "allow it more open files (ulimit -n, LimitNOFILE= of its unit)"],
  [Errno.ENFILE, "all the files that the kernel allows are open: see fs.file-max (sysctl)"],
]);

/** What to do where a call failed because too many files are open, whatever it was for. */
export const hintOfFiles = ({ errno }: SystemError): string | undefined =>
  errno === Errno.EMFILE || errno === Errno.ENFILE ? hintOfErrno.get(errno) : undefined;

const codeOfStep: Partial<Record<StepName, ErrorCode>> = {
  device: "unreadable",
  filesystem: "unreadable",
  unmount: "busy",
  detach: "busy",
};
