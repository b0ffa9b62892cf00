import type { Kernel } from "../linux/kernel.ts";
import { readCmdline } from "./cmdline.ts";
import type { Layout } from "./layout.ts";
import { layoutOf, type VolumeOptions } from "./options.ts";
import { Recorder } from "./report.ts";

/** Told while something takes more than a moment: a sentence for a person who waits. */
export type Progress = (text: string) => void;

/** What every part of one operation shares. */
export interface Context {
  readonly kernel: Kernel;
  readonly options: VolumeOptions;
  readonly layout: Layout;
  /** The kernel command line, read when it is first asked for; null where it cannot be. */
  readonly cmdline: () => string | null;
  /** False for a plan, which changes nothing. */
  readonly acting: boolean;
  /** False for a status, which waits for nobody. */
  readonly locking: boolean;
  readonly recorder: Recorder;
  readonly progress: Progress;
  readonly note: (text: string) => void;
  /** Descriptors to close when the operation ends. */
  readonly descriptors: number[];
}

export function newContext(
  kernel: Kernel,
  options: VolumeOptions,
  acting: boolean,
  progress: Progress,
  locking = true,
): Context {
  const recorder = new Recorder(kernel);
  const note = (text: string): void => recorder.note(text);
  let read: string | null | undefined;
  const cmdline = (): string | null => {
    if (read === undefined) read = readCmdline(kernel);
    return read;
  };
  return {
    kernel,
    options,
    layout: layoutOf(options),
    cmdline,
    acting,
    locking,
    recorder,
    progress,
    note,
    descriptors: [],
  };
}

/** Closes what the operation left open. */
export function closeAll({ kernel, descriptors }: Context): void {
  for (const fd of descriptors.splice(0)) kernel.close(fd);
}
