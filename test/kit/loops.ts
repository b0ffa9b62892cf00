import { readdirSync, readFileSync } from "node:fs";
import { command, tryCommand } from "./command.ts";

/** What the kernel says is attached: device -> path of its backing file. */
export function attachedLoops(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    const backing = backingFileOf(name);
    if (backing?.startsWith(`${folder}/`)) found.set(`/dev/${name}`, backing);
  }
  return found;
}

function backingFileOf(name: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").slice(0, -1);
  } catch {
    return undefined; // nothing is attached
  }
}

const DETACH_LIMIT_MS = 5000;

/**
 * Detaches a loop device and waits until it is free: while somebody else has it open, and
 * every `losetup --find` opens them all, the kernel only promises to detach it.
 */
export function detachLoop(device: string): void {
  tryCommand("losetup", "--detach", device);
  const deadline = performance.now() + DETACH_LIMIT_MS;
  while (backingFileOf(device.replace("/dev/", "")) !== undefined) {
    if (performance.now() > deadline) throw new Error(`${device} cannot be detached`);
    Bun.sleepSync(1);
  }
}

export interface Traffic {
  readonly writtenSectors: number;
  readonly discardedSectors: number;
}

/** The kernel's count of what was written to a device (Documentation/block/stat.rst). */
export function traffic(device: string): Traffic {
  const name = device.replace("/dev/", "");
  const fields = readFileSync(`/sys/block/${name}/stat`, "utf8").trim().split(/\s+/).map(Number);
  return { writtenSectors: fields[6] ?? Number.NaN, discardedSectors: fields[13] ?? Number.NaN };
}

/** Makes the kernel see the new size of the backing file. */
export const refreshSize = (device: string): string => command("losetup", "--set-capacity", device);
