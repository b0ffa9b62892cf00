/** What we promise, mostly in ratios within one run, so that it can be asked on any machine. */
import { bunBuilt } from "./bun-built.ts";
import type { AppearanceResult, Bar, Measured, ProgramResult } from "./results.ts";

const times = (ratio: number): string => `${ratio.toFixed(2)} ×`;
const inMs = (ms: number): string => `${ms.toFixed(2)} ms`;
const inMib = (mib: number): string => `${mib.toFixed(2)} MiB`;
const inMb = (mb: number): string => `${mb.toFixed(2)} MB`;

interface Promised {
  readonly bar: string;
  readonly most: number;
  /** What it may become. */
  readonly aim?: number;
  readonly bunBuilt?: number;
  readonly write: (value: number) => string;
  /** Undefined where it was not measured; null where it was, and nothing is known. */
  readonly value: (measured: Measured) => number | null | undefined;
}

/** Of a program in a scenario. */
const of =
  (scenario: string, program: string, pick: (result: ProgramResult) => number | null) =>
  ({ scenarios }: Measured): number | null | undefined => {
    const result = scenarios
      .find((known) => known.scenario === scenario)
      ?.programs.find((known) => known.program === program);
    return result === undefined ? undefined : pick(result);
  };

const toRust = (result: ProgramResult): number | null => result.toRust;
const toLimit = (result: ProgramResult): number | null => result.toLimit;

const ofAppearance =
  (appears: AppearanceResult["appears"], pick: (result: AppearanceResult) => number) =>
  ({ appearance }: Measured): number | undefined => {
    const result = appearance.find(
      (known) => known.appears === appears && known.program === "ours",
    );
    return result === undefined ? undefined : pick(result);
  };

const bytesPerMb = 1_000_000;
/** A disk that appeared is acted on after so long. */
const mostActsMs = 5;
const mostStatusMs = 50;

const promises: readonly Promised[] = [
  {
    bar: "warm boot, wall, to the Rust procedure",
    most: 0.75,
    aim: 0.65,
    bunBuilt: bunBuilt.warmWallToRust,
    write: times,
    value: of("warm", "ours", toRust),
  },
  {
    bar: "warm boot, CPU, to the Rust procedure",
    most: 0.75,
    aim: 0.65,
    bunBuilt: bunBuilt.warmCpuToRust,
    write: times,
    value: of("warm", "ours", (result) => result.cpuToRust),
  },
  {
    bar: "everything mounted already, to the limit in C",
    most: 4.5,
    aim: 3.5,
    bunBuilt: bunBuilt.mountedToLimit,
    write: times,
    value: of("mounted", "ours", toLimit),
  },
  {
    bar: "first boot, 64 GiB, to the Rust procedure",
    most: 1.1,
    aim: 1,
    bunBuilt: bunBuilt.coldToRust,
    write: times,
    value: of("cold", "ours", toRust),
  },
  {
    bar: "first boot, 8 TiB, to the Rust procedure",
    most: 0.12,
    aim: 0.1,
    bunBuilt: bunBuilt.coldLargeToRust,
    write: times,
    value: of("cold-large", "ours", toRust),
  },
  {
    bar: "growth, to the Rust procedure",
    most: 0.85,
    aim: 0.7,
    bunBuilt: bunBuilt.growthToRust,
    write: times,
    value: of("growth", "ours", toRust),
  },
  {
    bar: "--version, to an empty static C program",
    most: 3.5,
    aim: 2.5,
    bunBuilt: bunBuilt.versionToEmpty,
    write: times,
    value: of("start", "version", toLimit),
  },
  {
    bar: "warm boot, peak RSS",
    most: 3,
    aim: 2.5,
    bunBuilt: bunBuilt.warmPeakRssMib,
    write: inMib,
    value: of("warm", "ours", (result) => result.peakRssMib),
  },
  {
    bar: "executable, stripped, x86-64",
    most: 1.6,
    aim: 1.2,
    bunBuilt: bunBuilt.executableMb,
    write: inMb,
    value: ({ executableBytes, machine }) =>
      machine.architecture === "x64" ? executableBytes / bytesPerMb : undefined,
  },
  {
    bar: "a node appears: mounted after",
    most: 3.5,
    aim: 2.5,
    bunBuilt: bunBuilt.nodeMountedMs,
    write: inMs,
    value: ofAppearance("node", (result) => result.mountedMs),
  },
  {
    bar: "warm boot, KiB written",
    most: 0,
    bunBuilt: bunBuilt.warmWritten,
    write: String,
    value: of("warm", "ours", (result) => result.writtenKib),
  },
  {
    bar: "warm boot, generations",
    most: 0,
    bunBuilt: bunBuilt.warmWritten,
    write: String,
    value: of("warm", "ours", (result) => result.generations),
  },
  {
    bar: "warm boot, processes started",
    most: 0,
    bunBuilt: bunBuilt.warmWritten,
    write: String,
    value: of("warm", "ours", (result) => result.processes),
  },
  {
    bar: "a node appears: looked at after",
    most: mostActsMs,
    write: inMs,
    value: ofAppearance("node", (result) => result.openedMs),
  },
  {
    bar: "a medium appears: mounted after",
    most: mostActsMs,
    write: inMs,
    value: ofAppearance("medium", (result) => result.mountedMs),
  },
  {
    bar: "waiting, wake-ups per second",
    most: 0,
    write: String,
    value: ({ waiting }) => waiting.find(({ program }) => program === "ours")?.wakeUpsPerSecond,
  },
  {
    bar: "status above start, on the slowest volume",
    most: mostStatusMs,
    write: inMs,
    value: ({ status }) =>
      status.length === 0 ? undefined : Math.max(...status.map(({ aboveStartMs }) => aboveStartMs)),
  },
];

/** What was not measured has no bar, and what is not known meets none. */
export function barsOf(measured: Measured): Bar[] {
  return promises.flatMap(({ bar, most, aim, bunBuilt, write, value }) => {
    const found = value(measured);
    if (found === undefined) return [];
    const orNull = (number: number | undefined): string | null =>
      number === undefined ? null : write(number);
    return {
      bar,
      measured: found === null ? "unknown" : write(found),
      allowed: write(most),
      aim: orNull(aim),
      bunBuilt: orNull(bunBuilt),
      met: found !== null && found <= most,
    };
  });
}

/** One sentence that hides nothing. */
export function verdictOf(bars: readonly Bar[]): string {
  const missed = bars.filter(({ met }) => !met).map(({ bar }) => bar);
  const met = `${bars.length - missed.length} of ${bars.length} bars are met`;
  return missed.length === 0 ? `${met}.` : `${met}. Missed: ${missed.join("; ")}.`;
}
