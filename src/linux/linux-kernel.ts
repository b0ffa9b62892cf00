import { eventCalls } from "./calls/event-calls.ts";
import { fileCalls } from "./calls/file-calls.ts";
import { mountCalls } from "./calls/mount-calls.ts";
import { pageCalls } from "./calls/page-calls.ts";
import { processCalls } from "./calls/process-calls.ts";
import { programCalls } from "./calls/program-calls.ts";
import { signalCalls } from "./calls/signal-calls.ts";
import { timeCalls } from "./calls/time-calls.ts";
import type { Kernel } from "./kernel.ts";

/** Linux by system call. `program` is the path of this program's executable, which it may start once more. */
export const linuxKernel = (program: string | null = null): Kernel => ({
  ...fileCalls,
  ...pageCalls,
  ...mountCalls,
  ...eventCalls,
  ...timeCalls,
  ...processCalls(program !== null),
  ...signalCalls(program !== null),
  ...programCalls(program),
});
