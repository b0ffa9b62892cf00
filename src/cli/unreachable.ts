import type { UnreachableKernel } from "../linux/libc.ts";
import { exitStatusOf } from "../volume/error.ts";
import { errorText, json, plain } from "./render.ts";
import { emptyReport } from "./show.ts";

/** Says that no system call can be made, and so does it without one of ours; gives the exit status. */
export function reportUnreachable({ message }: UnreachableKernel, asJson: boolean): number {
  const code = "unsupported";
  const error = {
    code,
    message: `the C library cannot be called: ${message}`,
    hint:
      "lift the limit of the address space (ulimit -v unlimited; of a systemd unit, LimitAS= and " +
      "MemoryDenyWriteExecute=)",
  } as const;
  if (asJson) console.log(json({ ...emptyReport, error }).trimEnd());
  else console.error(errorText(error, plain).trimEnd());
  return exitStatusOf[code];
}
