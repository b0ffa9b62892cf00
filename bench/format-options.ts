/** What the node size of mkfs.btrfs costs. DUP metadata always: a volume must survive a bad block. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { nodeSizes, Volume } from "./format-options/volume.ts";
import {
  fillWithMany,
  type Measured,
  type Metric,
  measureMany,
  measureWork,
  metrics,
} from "./format-options/work.ts";
import { stopIfAsked } from "./interruption.ts";
import { describeMachine } from "./machine.ts";
import { progress } from "./progress.ts";
import type { Machine } from "./results.ts";
import { median } from "./sample.ts";
import { columns } from "./table.ts";

interface Row {
  readonly metric: Metric;
  readonly title: string;
  /** Medians, of the node sizes in their order. */
  readonly values: readonly number[];
}

interface FormatOptionsResults {
  readonly at: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly nodeSizes: readonly number[];
  readonly rows: readonly Row[];
}

/** Every volume in turn, round after round; what each measured. */
async function inTurn(
  what: string,
  rounds: number,
  volumes: readonly Volume[],
  work: (volume: Volume) => Measured,
): Promise<Measured[][]> {
  const measured: Measured[][] = volumes.map(() => []);
  for (let round = 0; round < rounds; round++) {
    progress(what, round, rounds);
    for (let turn = 0; turn < volumes.length; turn++) {
      const which = (round + turn) % volumes.length;
      const volume = volumes[which];
      await stopIfAsked();
      if (volume !== undefined) measured[which]?.push(work(volume));
    }
  }
  progress(what, rounds, rounds);
  return measured;
}

function rowsOf(measured: readonly (readonly Measured[])[]): Row[] {
  return Object.entries(metrics).map(([name, title]) => {
    const metric = name as Metric;
    const values = measured.map((runs) =>
      median(runs.map((run) => run[metric]).filter((value) => value !== undefined)),
    );
    return { metric, title, values };
  });
}

function tableOf({ rows }: FormatOptionsResults): string {
  return columns([
    ["", ...nodeSizes.map((size) => `${size / 1024} KiB`)],
    ...rows.map(({ title, values }) => [title, ...values.map((value) => value.toPrecision(3))]),
  ]);
}

export async function measureFormatOptions(
  rounds: number,
  folder: string,
): Promise<FormatOptionsResults> {
  const scratch = join(folder, "format-options");
  const volumes: Volume[] = [];
  try {
    for (const size of nodeSizes) volumes.push(new Volume(join(scratch, String(size)), size));
    const work = await inTurn("work", rounds, volumes, measureWork);
    const full = await inTurn("filling", 1, volumes, (volume) => ({
      manyMetadataMib: fillWithMany(volume),
    }));
    const many = await inTurn("a million files", rounds, volumes, measureMany);
    const measured = volumes.map((_, i) => [work, full, many].flatMap((runs) => runs[i] ?? []));
    const results = {
      at: new Date().toISOString(),
      machine: describeMachine(folder),
      rounds,
      nodeSizes,
      rows: rowsOf(measured),
    };
    console.log(tableOf(results));
    return results;
  } finally {
    for (const { disk } of volumes) disk.close();
    rmSync(scratch, { recursive: true, force: true });
  }
}
