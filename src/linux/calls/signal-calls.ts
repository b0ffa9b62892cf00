import {
  kernelSigaction,
  SIG_DFL,
  SIG_IGN,
  sigaction,
  signalSetBytes,
  signals,
} from "./signals.ts";
import { call } from "./system-call.ts";

/** asm-generic/signal.h */
const signalCount = 64;
/** Nobody can hold off SIGKILL and SIGSTOP; the others do not end a program by default (signal(7)). */
const harmless: ReadonlySet<number> = new Set([
  signals.SIGKILL,
  signals.SIGCHLD,
  signals.SIGCONT,
  signals.SIGSTOP,
  signals.SIGTSTP,
  signals.SIGTTIN,
  signals.SIGTTOU,
  signals.SIGURG,
  signals.SIGWINCH,
]);
/**
 * What a fault of the program raises. Bun has handlers for them, which end it; where they are ignored, the
 * kernel ends it all the same, but only for a fault (force_sig(), kernel/signal.c).
 */
const crashes: ReadonlySet<number> = new Set([
  signals.SIGILL,
  signals.SIGTRAP,
  signals.SIGABRT,
  signals.SIGBUS,
  signals.SIGFPE,
  signals.SIGSEGV,
  signals.SIGSYS,
]);

/**
 * The signals that would end the program now, and what is done on each. Who has a handler for one does what is
 * right on it. (All threads share this, but not what is blocked, and the threads are not ours.)
 */
function deadlySignals(): { signal: number; action: Uint8Array }[] {
  const deadly: { signal: number; action: Uint8Array }[] = [];
  for (let signal = 1; signal <= signalCount; signal++) {
    if (harmless.has(signal)) continue;
    const action = kernelSigaction.encode({});
    sigaction(signal, 0, action);
    const { handler } = kernelSigaction.decode(action);
    if (handler === SIG_DFL || (handler !== SIG_IGN && crashes.has(signal))) {
      deadly.push({ signal, action });
    }
  }
  return deadly;
}

/** In somebody else's process, whose threads are not ours, and who shares with them what is done on a signal. */
function withSignalsIgnored<T>(work: () => T): T {
  const held = deadlySignals();
  const ignore = kernelSigaction.encode({ handler: SIG_IGN });
  for (const { signal } of held) sigaction(signal, ignore, 0);
  try {
    return work();
  } finally {
    for (const { signal, action } of held) sigaction(signal, action, 0);
  }
}

/** asm-generic/signal-defs.h */
const SIG_BLOCK = 0;
const SIG_SETMASK = 2;

function withSignalsBlocked<T>(work: () => T): T {
  const before = new Uint8Array(signalSetBytes);
  const all = new Uint8Array(signalSetBytes).fill(0xff);
  call("rt_sigprocmask", undefined, SIG_BLOCK, all, before, signalSetBytes);
  try {
    return work();
  } finally {
    call("rt_sigprocmask", undefined, SIG_SETMASK, before, 0, signalSetBytes);
  }
}

export interface SignalCalls {
  /**
   * Runs `work` with every signal held off that would end the program and can be: what is half done would
   * be worse than a moment's delay.
   */
  uninterrupted<T>(work: () => T): T;
}

/** For our own program, which has one thread and gets what was held off when the work is done; or for a library. */
export const signalCalls = (isProgram: boolean): SignalCalls => ({
  uninterrupted: isProgram ? withSignalsBlocked : withSignalsIgnored,
});
