/** Measures what brings a volume up, and what only starts: all programs in turn, round after round. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Disk } from "./disk.ts";
import { stopIfAsked } from "./interruption.ts";
import type { Program } from "./programs.ts";
import { progress } from "./progress.ts";
import type { ProgramResult, ScenarioResult } from "./results.ts";
import { countProcesses, median, pairedRatio, type Sample, sample } from "./sample.ts";
import { type Lane, type Scenario, startPrograms } from "./scenarios.ts";

/** Six mounts: the whole filesystem and the five subvolumes. */
const mountCount = 6;

interface Run extends Sample {
  readonly writtenKib: number | null;
  readonly generations: number | null;
}

/** One contender of a scenario. */
interface Contender {
  readonly program: string;
  readonly title: string;
  readonly run: () => Run;
  readonly countProcesses: () => number;
}

/** Each in turn, `rounds` times, beginning with another one every time; the first round is for practice. */
export async function interleaved<T>(
  what: string,
  rounds: number,
  contenders: readonly (() => T)[],
): Promise<T[][]> {
  const results: T[][] = contenders.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    progress(what, round, rounds);
    await stopIfAsked();
    for (let turn = 0; turn < contenders.length; turn++) {
      const which = (round + turn) % contenders.length;
      const result = contenders[which]?.();
      if (round > 0 && result !== undefined) results[which]?.push(result);
    }
  }
  return results;
}

function measured(lane: Lane, scenario: Scenario): Run {
  const { disk } = lane;
  scenario.reset(lane);
  disk.settle();
  const before = disk.counters();
  const cost = sample(lane.up);
  if (disk.mountedPaths.length !== mountCount) {
    throw new Error(`${lane.up.join(" ")} left ${disk.mountedPaths.length} mounts`);
  }
  // Unmounting writes what the run left in memory, and nothing else.
  disk.unmount();
  disk.settle();
  const after = disk.counters();
  return {
    ...cost,
    writtenKib: after.writtenKib - before.writtenKib,
    generations: after.generation - before.generation,
  };
}

function contenderOf(program: Program, scenario: Scenario, disk: Disk, folder: string): Contender {
  const up = program.up(disk.device, disk.root);
  const lane: Lane = {
    disk,
    up,
    template: join(folder, `${program.name}.img`),
    runOnce: () => void sample(up),
  };
  scenario.prepare(lane);
  return {
    program: program.name,
    title: program.title,
    run: () => measured(lane, scenario),
    countProcesses: () => {
      scenario.reset(lane);
      return countProcesses(up, join(folder, "strace.log"));
    },
  };
}

function resultsOf(contenders: readonly Contender[], runs: readonly Run[][]): ProgramResult[] {
  const valuesOf = (program: string, pick: (run: Run) => number): readonly number[] | null => {
    const index = contenders.findIndex((contender) => contender.program === program);
    return runs[index]?.map(pick) ?? null;
  };
  const ratio = (of: string, to: string, pick: (run: Run) => number): number | null => {
    const [values, others] = [valuesOf(of, pick), valuesOf(to, pick)];
    return values === null || others === null ? null : pairedRatio(values, others);
  };
  const wall = (run: Run): number => run.wallMs;
  return contenders.map(({ program, title, countProcesses }, i) => {
    const own = runs[i] ?? [];
    const known = (pick: (run: Run) => number | null): number | null => {
      const values = own.map(pick).filter((value) => value !== null);
      return values.length === 0 ? null : median(values);
    };
    return {
      program,
      title,
      wallMs: median(own.map(wall)),
      leastWallMs: Math.min(...own.map(wall)),
      cpuMs: median(own.map((run) => run.cpuMs)),
      peakRssMib: median(own.map((run) => run.peakRssMib)),
      writtenKib: known((run) => run.writtenKib),
      generations: known((run) => run.generations),
      processes: countProcesses(),
      toLimit: ratio(program, "limit", wall),
      toRust: ratio(program, "rust", wall),
      cpuToRust: ratio(program, "rust", (run) => run.cpuMs),
    };
  });
}

export async function runScenario(
  scenario: Scenario,
  programs: readonly Program[],
  rounds: number,
  folder: string,
): Promise<ScenarioResult> {
  const taking = programs.filter(({ name }) => !scenario.without.includes(name));
  const disks: Disk[] = [];
  const scratch = join(folder, scenario.name);
  mkdirSync(scratch);
  try {
    const contenders = taking.map((program) => {
      const disk = new Disk(join(scratch, program.name), scenario.sizeBytes);
      disks.push(disk);
      return contenderOf(program, scenario, disk, scratch);
    });
    const runs = await interleaved(
      scenario.name,
      rounds,
      contenders.map(({ run }) => run),
    );
    return {
      scenario: scenario.name,
      title: scenario.title,
      programs: resultsOf(contenders, runs),
    };
  } finally {
    for (const disk of disks) disk.close();
    rmSync(scratch, { recursive: true });
  }
}

/** What a program costs that does nothing, and ours when it says its version. */
export async function runStart(
  rounds: number,
  folder: string,
  compare?: string,
): Promise<ScenarioResult> {
  const words: readonly (readonly [string, string, readonly string[]])[] = [
    ...startPrograms.map(({ program, title, words }) => [program, title, words] as const),
    ...(compare === undefined
      ? []
      : [["other", `${compare} --version`, [compare, "--version"]] as const]),
  ];
  const contenders = words.map(
    ([program, title, words]): Contender => ({
      program,
      title,
      run: () => ({ ...sample(words), writtenKib: null, generations: null }),
      countProcesses: () => countProcesses(words, join(folder, "strace.log")),
    }),
  );
  const runs = await interleaved(
    "start",
    rounds,
    contenders.map(({ run }) => run),
  );
  return {
    scenario: "start",
    title: "nothing but start and end",
    programs: resultsOf(contenders, runs),
  };
}
