import { spawn } from "#native";
import { SystemError } from "../errno.ts";
import { O_CLOEXEC } from "../kernel.ts";
import { i32, struct } from "../struct.ts";
import { fromUtf8 } from "../text.ts";
import { eventCalls } from "./event-calls.ts";
import { fileCalls } from "./file-calls.ts";
import {
  kernelSigaction,
  SA_NOCLDWAIT,
  SIG_DFL,
  SIG_IGN,
  sigaction,
  signalName,
  signals,
} from "./signals.ts";
import { call, retried } from "./system-call.ts";
import { timeCalls } from "./time-calls.ts";

const pipeEnds = struct(8, { from: i32(0), into: i32(4) });

/** Both ends of a pipe (pipe2(2)). */
function pipe(): { readonly from: number; readonly into: number } {
  const ends = pipeEnds.encode({});
  call("pipe2", undefined, ends, O_CLOEXEC);
  return pipeEnds.decode(ends);
}

/** What a started program finds: only what it needs to find others. */
const cleanEnvironment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];

/** What of a program's words is kept; mkfs says some kilobytes, an answer is a line for each process. */
const longestOutputBytes = 1024 * 1024;

const status = struct(4, { word: i32(0) });

/** How a process ended (wait(2)). */
function ended(pid: number): Pick<ProgramResult, "exitCode" | "signal"> {
  const answer = status.encode({});
  retried("wait4", undefined, pid, answer, 0, 0);
  const { word } = status.decode(answer);
  const signal = word & 0x7f;
  return signal === 0
    ? { exitCode: (word >> 8) & 0xff, signal: null }
    : { exitCode: null, signal: signalName(signal) };
}

/** What a started program finds as its first descriptors beside the pipe that it writes into. */
interface Streams {
  /** null: nothing can be read there. */
  readonly input: number | null;
  /** What it says on standard error is read, too. */
  readonly keepsErrors: boolean;
  /** Descriptors 3 and up. */
  readonly inherited: readonly number[];
}

/** Starts a program that writes into a pipe; gives the end to read from. */
function started(
  program: string,
  words: readonly string[],
  { input, keepsErrors, inherited }: Streams,
): { readonly pid: number; readonly from: number } {
  // A pipe that nobody writes into: its end comes at once, and there need not be a /dev/null.
  const nothing = pipe();
  const output = pipe();
  const error = keepsErrors ? output.into : nothing.from;
  const descriptors = [input ?? nothing.from, output.into, error, ...inherited];
  const pid = spawn(program, [program, ...words], cleanEnvironment, descriptors);
  for (const fd of [nothing.from, nothing.into, output.into]) fileCalls.close(fd);
  if (pid >= 0) return { pid, from: output.from };
  fileCalls.close(output.from);
  throw new SystemError("execve", -pid, program);
}

/** Asks again and again whether something comes, all in one time, which `goesOn` may give anew when it is over. */
function inTime(fd: number, waitMs: number, goesOn: () => boolean): () => boolean {
  let endMs = timeCalls.nowMs() + waitMs;
  return () => {
    for (;;) {
      const leftMs = endMs - timeCalls.nowMs();
      if (leftMs <= 0 || !eventCalls.waitReadable([fd], leftMs)) {
        if (!goesOn()) return false;
        endMs = timeCalls.nowMs() + waitMs;
        // A signal ends a wait too; a look that does not wait tells.
      } else if (eventCalls.waitReadable([fd], 0)) return true;
    }
  };
}

/** All that can be read until the other end is closed or `isMore` says no; more than a limit is not kept. */
function readAll(fd: number, isMore: () => boolean = () => true): string {
  const pieces: Uint8Array[] = [];
  let keptBytes = 0;
  while (isMore()) {
    const piece = new Uint8Array(4096);
    const count = fileCalls.read(fd, piece);
    if (count === 0) break;
    if (keptBytes >= longestOutputBytes) continue;
    pieces.push(piece.subarray(0, count));
    keptBytes += count;
  }
  return fromUtf8(joined(pieces, keptBytes));
}

function joined(pieces: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Where SIGCHLD is ignored, which a program inherits from who starts it, the kernel reaps a child at once
 * and its exit status is lost: wait(2), "errors".
 */
function waitingForChildren<T>(work: () => T): T {
  const callers = kernelSigaction.encode({});
  sigaction(signals.SIGCHLD, 0, callers);
  const { handler, flags } = kernelSigaction.decode(callers);
  if (handler !== SIG_IGN && (flags & SA_NOCLDWAIT) === 0n) return work();
  sigaction(signals.SIGCHLD, kernelSigaction.encode({ handler: SIG_DFL }), 0);
  try {
    return work();
  } finally {
    sigaction(signals.SIGCHLD, callers, 0);
  }
}

export interface ProgramResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Standard output and error together. */
  readonly output: string;
}

export interface ProgramCalls {
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
}

/** The answer of this program, started once more, and its process id: nobody has waited for it. */
function asked(
  itself: string,
  words: readonly string[],
  input: number | null,
  waitMs: number,
  goesOn: () => boolean,
): { readonly pid: number; readonly answer: string } {
  const streams = { input, keepsErrors: false, inherited: [] };
  const { pid, from } = started(itself, words, streams);
  try {
    return { pid, answer: readAll(from, inTime(from, waitMs, goesOn)) };
  } finally {
    fileCalls.close(from);
  }
}

/** `itself` is what `ask` starts: null where there is none. */
export const programCalls = (itself: string | null): ProgramCalls => ({
  run: (program, words, inherited) =>
    waitingForChildren(() => {
      const { pid, from } = started(program, words, { input: null, keepsErrors: true, inherited });
      try {
        return { output: readAll(from), ...ended(pid) };
      } finally {
        fileCalls.close(from);
      }
    }),

  ask(words, waitMs) {
    if (itself === null || waitMs <= 0) return null;
    const { pid, answer } = asked(itself, words, null, waitMs, () => false);
    // Nobody waits for it: whoever asked a daemon that has the question dies only when that answers.
    call("kill", undefined, pid, signals.SIGKILL);
    return answer;
  },
  askAbout(path, flags, words, waitMs, goesOn = () => false) {
    if (itself === null || waitMs <= 0) return null;
    const fd = fileCalls.open(path, flags);
    try {
      return asked(itself, words, fd, waitMs, goesOn).answer;
    } finally {
      fileCalls.close(fd);
    }
  },
});
