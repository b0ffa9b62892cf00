/** What we promise, in ratios within one run, so that it can be asked on any machine. */
import type { AppearanceResult, Bar, ProgramResult, Results, ScenarioResult } from "./results.ts";

type Measured = Omit<Results, "bars">;

const inMs = (ms: number): string => `${ms.toFixed(2)} ms`;
const times = (ratio: number): string => `${ratio.toFixed(2)} ×`;

function bar(what: string, value: number, most: number, write: (value: number) => string): Bar {
  return { bar: what, measured: write(value), allowed: write(most), met: value <= most };
}

const limits = {
  warmToRust: 1,
  insideMs: 2.6,
  coldToRust: 1.15,
  coldLargeToRust: 0.25,
  growthToLimit: 1.2,
  actsMs: 5,
  statusAboveStartMs: 50,
  startAboveEmptyMs: 1.5,
} as const;

class Lookup {
  readonly #scenarios: readonly ScenarioResult[];
  constructor(scenarios: readonly ScenarioResult[]) {
    this.#scenarios = scenarios;
  }

  /** A program of a scenario, or undefined where it was not measured. */
  of(scenario: string, program: string): ProgramResult | undefined {
    return this.#scenarios
      .find((result) => result.scenario === scenario)
      ?.programs.find((result) => result.program === program);
  }
}

function warmBars(of: Lookup["of"], insideMs: number | null): Bar[] {
  const warm = of("warm", "ours");
  const bars: Bar[] = [];
  if (warm?.toRust != null && warm.cpuToRust != null) {
    bars.push(
      bar("every boot, wall, to the Rust procedure", warm.toRust, limits.warmToRust, times),
      bar("every boot, CPU, to the Rust procedure", warm.cpuToRust, limits.warmToRust, times),
    );
  }
  if (insideMs !== null) {
    bars.push(bar("every boot, inside the process", insideMs, limits.insideMs, inMs));
  }
  if (warm !== undefined) {
    const count = (value: number): string => String(value);
    bars.push(
      bar("every boot, KiB written", warm.writtenKib ?? Number.NaN, 0, count),
      bar("every boot, generations", warm.generations ?? Number.NaN, 0, count),
      bar("every boot, processes started", warm.processes, 0, count),
    );
  }
  return bars;
}

function otherBootBars(of: Lookup["of"]): Bar[] {
  const bars: Bar[] = [];
  const [mounted, rust] = [of("mounted", "ours"), of("mounted", "rust")];
  const empty = of("start", "empty");
  if (mounted !== undefined && rust !== undefined && empty !== undefined) {
    const most = rust.wallMs + empty.wallMs;
    const what = "mounted already, to the Rust procedure and an empty Bun";
    bars.push(bar(what, mounted.wallMs, most, inMs));
  }
  const cold = of("cold", "ours")?.toRust;
  if (cold != null) {
    bars.push(bar("first boot, 64 GiB, to the Rust procedure", cold, limits.coldToRust, times));
  }
  const large = of("cold-large", "ours")?.toRust;
  if (large != null) {
    const what = "first boot, 8 TiB, to the Rust procedure";
    bars.push(bar(what, large, limits.coldLargeToRust, times));
  }
  const [growth, least, still] = [of("growth", "ours"), of("growth", "limit"), of("warm", "limit")];
  if (growth !== undefined && least !== undefined && still !== undefined) {
    // What the limit needs more than on a boot without growth is one transaction.
    const most = limits.growthToLimit * least.wallMs + (least.wallMs - still.wallMs);
    bars.push(bar("growth, to the limit and one transaction", growth.wallMs, most, inMs));
  }
  return bars;
}

const appearanceBars = ({ appears, openedMs, mountedMs }: AppearanceResult): Bar[] => [
  bar(`a ${appears} appears: looked at after`, openedMs, limits.actsMs, inMs),
  bar(`a ${appears} appears: mounted after`, mountedMs, limits.actsMs, inMs),
];

export function barsOf({ scenarios, insideMs, appearance, waiting, status }: Measured): Bar[] {
  const lookup = new Lookup(scenarios);
  const of = (scenario: string, program: string) => lookup.of(scenario, program);
  const [empty, version] = [of("start", "empty"), of("start", "version")];
  return [
    ...warmBars(of, insideMs),
    ...otherBootBars(of),
    ...appearance.filter(({ program }) => program === "ours").flatMap(appearanceBars),
    ...waiting
      .filter(({ program }) => program === "ours")
      .map(({ wakeUpsPerSecond }) =>
        bar("waiting, wake-ups per second", wakeUpsPerSecond ?? Number.NaN, 0, String),
      ),
    ...status.map(({ volume, aboveStartMs }) =>
      bar(`status above start, ${volume}`, aboveStartMs, limits.statusAboveStartMs, inMs),
    ),
    ...(empty === undefined || version === undefined
      ? []
      : [
          bar(
            "--version above an empty Bun",
            version.wallMs - empty.wallMs,
            limits.startAboveEmptyMs,
            inMs,
          ),
        ]),
  ];
}
