/** What `status` costs on volumes of different sizes. Filling the largest takes minutes. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { interleaved } from "./boot.ts";
import { built, ours } from "./build.ts";
import { Disk } from "./disk.ts";
import { stopIfAsked } from "./interruption.ts";
import type { StatusResult } from "./results.ts";
import { median, numbersOf, sample } from "./sample.ts";
import { smallBytes } from "./scenarios.ts";

// Taking a snapshot is a commit, making a subvolume is not: mostly these, or filling takes an hour.
const subvolumeCount = 9000;
const snapshotCount = 1000;
const fileCount = 1_000_000;

interface Content {
  readonly volume: string;
  readonly subvolumes: boolean;
  readonly files: boolean;
}

const contents: readonly Content[] = [
  { volume: "new", subvolumes: false, files: false },
  { volume: "10,000 subvolumes and snapshots", subvolumes: true, files: false },
  { volume: "10,000 subvolumes and snapshots, 1,000,000 files", subvolumes: true, files: true },
];

const workload = (...words: readonly string[]): readonly number[] =>
  numbersOf([built("workload"), ...words]);

function fill({ subvolumes, files }: Content, root: string): void {
  const whole = join(root, "run/arcbox/data");
  const docker = join(whole, "@docker");
  const many = join(whole, "@containerd/many");
  if (files) workload("tiny", join(docker, "files"), String(fileCount));
  if (!subvolumes) return;
  for (const name of ["", "subvolumes", "snapshots"]) mkdirSync(join(many, name));
  workload("subvolumes", join(many, "subvolumes"), String(subvolumeCount));
  // Of the subvolume that has the files: each then has them all.
  workload("snapshot", docker, join(many, "snapshots"), "0", String(snapshotCount));
}

export async function measureStatus(rounds: number, folder: string): Promise<StatusResult[]> {
  const scratch = join(folder, "status");
  const disks: Disk[] = [];
  try {
    const runs: (() => number)[] = [];
    for (const [i, content] of contents.entries()) {
      await stopIfAsked();
      process.stderr.write(`filling a volume: ${content.volume}\n`);
      const disk = new Disk(join(scratch, String(i)), smallBytes);
      disks.push(disk);
      const where = ["--device", disk.device, "--root", disk.root];
      sample([ours, "volume", "up", ...where]);
      fill(content, disk.root);
      runs.push(() => sample([ours, "volume", "status", "--json", ...where]).wallMs);
    }
    const start = () => sample([ours, "--version"]).wallMs;
    const [starts = [], ...measured] = await interleaved("status", rounds, [start, ...runs]);
    return contents.map(({ volume }, i) => {
      const statusMs = median(measured[i] ?? []);
      return { volume, statusMs, aboveStartMs: statusMs - median(starts) };
    });
  } finally {
    for (const disk of disks) disk.close();
    rmSync(scratch, { recursive: true, force: true });
  }
}
