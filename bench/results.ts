/** What the bench found out: docs/performance.json. Milliseconds of medians, if a name says no more. */
export interface ProgramResult {
  readonly program: string;
  readonly title: string;
  readonly wallMs: number;
  readonly leastWallMs: number;
  readonly cpuMs: number;
  readonly peakRssMib: number;
  /** Null for a program that has no disk. */
  readonly writtenKib: number | null;
  readonly generations: number | null;
  readonly processes: number;
  /** Medians of the ratios within each round; null where the other did not run. */
  readonly toLimit: number | null;
  readonly toRust: number | null;
  readonly cpuToRust: number | null;
}

export interface ScenarioResult {
  readonly scenario: string;
  readonly title: string;
  readonly programs: readonly ProgramResult[];
}

/** Milliseconds after the disk appeared. */
export interface AppearanceResult {
  readonly appears: "node" | "medium";
  readonly program: string;
  readonly title: string;
  readonly openedMs: number;
  readonly mountedMs: number;
  readonly mostMountedMs: number;
  readonly exitedMs: number;
}

export interface WaitingResult {
  readonly program: string;
  readonly title: string;
  /** Null where the machine was never quiet for long enough. */
  readonly wakeUpsPerSecond: number | null;
}

export interface StatusResult {
  readonly volume: string;
  readonly statusMs: number;
  readonly aboveStartMs: number;
}

/** One promise: what was measured, and what is allowed. */
export interface Bar {
  readonly bar: string;
  readonly measured: string;
  readonly allowed: string;
  /** What it may become; null where it is all it can be. */
  readonly aim: string | null;
  /** What the last executable that Bun built reached. */
  readonly bunBuilt: string | null;
  readonly met: boolean;
}

export interface Machine {
  readonly kernel: string;
  readonly architecture: string;
  readonly cpus: string;
  readonly memoryGib: number;
  readonly mkfs: string;
  readonly busybox: string;
  readonly imagesOn: string;
}

/** A part that was wanted and has no result. */
export interface MissingPart {
  readonly part: string;
  readonly why: string;
}

export interface Measured {
  readonly at: string;
  readonly machine: Machine;
  readonly runs: number;
  readonly executableBytes: number;
  readonly scenarios: readonly ScenarioResult[];
  readonly appearance: readonly AppearanceResult[];
  readonly waiting: readonly WaitingResult[];
  readonly status: readonly StatusResult[];
  /** None where everything that was asked for has been measured. */
  readonly missing: readonly MissingPart[];
}

export interface Results extends Measured {
  readonly bars: readonly Bar[];
}
