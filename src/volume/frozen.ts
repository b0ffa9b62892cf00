import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { shellWord } from "./shell-word.ts";
import { takesWrites } from "./slow-look.ts";

/** A backup freezes a filesystem for a moment; who has it frozen for longer has to be told. */
const thawMs = 3000;

/**
 * Throws `busy` for a filesystem that is frozen (fsfreeze(8)), before anything is written to it: a process
 * that waits for it cannot be ended. `top` is its open top, `path` where that is mounted.
 */
export function assertThawed(kernel: Kernel, top: number, path: string): void {
  if (takesWrites(kernel, top, thawMs)) return;
  throw new VolumeError(
    "busy",
    `${path} takes no writes: it is frozen, or its disk does not answer`,
    {
      hint: `thaw it, then run the command again: fsfreeze --unfreeze ${shellWord(path)}`,
    },
  );
}
