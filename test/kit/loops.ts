import { readdirSync, readFileSync } from "node:fs";
import { command } from "./command.ts";

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
