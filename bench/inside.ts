import { join } from "node:path";
import { parseReport } from "../test/kit/report.ts";
import { ours } from "./build.ts";
import { Disk } from "./disk.ts";
import { median } from "./sample.ts";
import { smallBytes } from "./scenarios.ts";

/** Milliseconds of a warm `up` by its own report: without the start of Bun, without the end. */
export function measureInside(rounds: number, folder: string): number {
  const disk = new Disk(join(folder, "inside"), smallBytes);
  const up = (): number => {
    const words = [ours, "volume", "up", "--json", "--device", disk.device, "--root", disk.root];
    const { stdout } = Bun.spawnSync(words, { stdin: "ignore" });
    const { ms } = parseReport(stdout.toString());
    disk.unmount();
    disk.settle();
    return ms;
  };
  try {
    up();
    return median(Array.from({ length: rounds }, up));
  } finally {
    disk.close();
  }
}
