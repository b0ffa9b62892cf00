import { scratch } from "./scratch.ts";
import { call } from "./system-call.ts";

/** linux/time.h */
const CLOCK_MONOTONIC = 1;
/** linux/time_types.h, struct __kernel_timespec: seconds, nanoseconds. */
const now = scratch(16);

export interface TimeCalls {
  /** A clock that only goes forward, in milliseconds. */
  nowMs(): number;
  /** 16 random bytes. */
  randomId(): Uint8Array;
}

export const timeCalls: TimeCalls = {
  nowMs() {
    call("clock_gettime", undefined, CLOCK_MONOTONIC, now.bytes);
    // Both are below 2^53 for as long as a machine is up.
    const seconds = now.view.getUint32(0, true);
    return seconds * 1000 + now.view.getUint32(8, true) / 1e6;
  },
  randomId() {
    const bytes = new Uint8Array(16);
    // 256 bytes and fewer come whole (getrandom(2)).
    call("getrandom", undefined, bytes, bytes.length, 0);
    return bytes;
  },
};
