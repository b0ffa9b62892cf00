import { Errno, SystemError } from "../../../src/linux/errno.ts";
import type { ProgramResult } from "../../../src/linux/kernel.ts";
import type { SimulatedKernel } from "./kernel.ts";
import { mkfsRefusal, mkfsSteps, parseMkfsArguments } from "./mkfs.ts";
import { nameOf } from "./tree.ts";

/** How mkfs ends otherwise than well: it does not start, or it stops after so many of its steps. */
export type MkfsFault =
  | { readonly kind: "spawn"; readonly errno: number }
  | { readonly kind: "exit" | "killed"; readonly afterSteps: number };

/** Runs mkfs.btrfs to its end. Every step of it is an effect. */
export function runMkfs(
  kernel: SimulatedKernel,
  args: readonly string[],
  inherited: readonly number[],
  fault: MkfsFault | null,
): ProgramResult {
  const { world } = kernel;
  if (fault?.kind === "spawn") throw new SystemError("run", fault.errno, "mkfs.btrfs");
  const failed = (output: string): ProgramResult => ({ exitCode: 1, signal: null, output });
  const { label, force, path } = parseMkfsArguments(args);
  const device = deviceOf(kernel, path, inherited);
  const storage = world.storageOf(device);
  if (storage === null) return failed(`ERROR: unable to open ${path}`);
  const refusal = mkfsRefusal(storage, world.filesystemOn(device) !== null, force);
  if (refusal !== null) return failed(refusal);
  world.effect({ kind: "mkfs", device });
  for (const [done, step] of mkfsSteps(storage, label, world.random).entries()) {
    if (done === fault?.afterSteps) return ended(fault.kind);
    step();
    world.effect({ kind: "write", by: "mkfs", device, offset: 0, length: 0 });
  }
  kernel.flushed(device);
  return { exitCode: 0, signal: null, output: "" };
}

/** The block device that a path of the new process leads to, whose descriptors 3 and up are inherited. */
function deviceOf(kernel: SimulatedKernel, path: string, inherited: readonly number[]): string {
  const [, number] = /^\/proc\/self\/fd\/(\d+)$/.exec(path) ?? [];
  const fd = inherited[Number(number) - 3];
  const what = fd === undefined ? null : kernel.file(fd, "open").what;
  return what?.kind === "block" ? what.name : nameOf(path);
}

const ended = (kind: "exit" | "killed"): ProgramResult =>
  kind === "exit"
    ? { exitCode: 1, signal: null, output: `ERROR: errno ${Errno.EIO}` }
    : { exitCode: null, signal: "SIGKILL", output: "" };
