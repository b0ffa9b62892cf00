import { struct, u64 } from "../struct.ts";
import { call } from "./system-call.ts";

/** asm-generic/signal.h; the same on x86-64 and arm64. */
export const signals = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGWINCH: 28,
  SIGSYS: 31,
} as const;

/** "SIGKILL" for 9; "signal 40" for a number without a name here. */
export function signalName(signal: number): string {
  for (const [name, number] of Object.entries(signals)) if (number === signal) return name;
  return `signal ${signal}`;
}

export const SIG_DFL = 0n;
export const SIG_IGN = 1n;
export const SA_NOCLDWAIT = 2n;

/** asm-generic/signal.h, struct sigaction of the kernel. */
export const kernelSigaction = struct(32, { handler: u64(0), flags: u64(8) });
export const signalSetBytes = 8;

/** rt_sigaction(2) */
export function sigaction(signal: number, action: Uint8Array | 0, old: Uint8Array | 0): void {
  call("rt_sigaction", undefined, signal, action, old, signalSetBytes);
}
