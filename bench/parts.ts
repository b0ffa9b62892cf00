/** The bench in parts that stand alone: when one fails, what the others found is kept. */
import { statSync } from "node:fs";
import { measureAppearance, measureWaiting } from "./appearance.ts";
import { barsOf } from "./bars.ts";
import { runScenario, runStart } from "./boot.ts";
import { ours } from "./build.ts";
import { isStopped } from "./interruption.ts";
import { describeMachine } from "./machine.ts";
import type { Options, ScenarioName } from "./options.ts";
import { availablePrograms } from "./programs.ts";
import type { Measured, Results } from "./results.ts";
import { scenarios } from "./scenarios.ts";
import { measureStatus } from "./status.ts";

type Found = Partial<Pick<Measured, "scenarios" | "appearance" | "waiting" | "status">>;

export interface Part {
  readonly part: string;
  readonly measure: () => Promise<Found>;
}

export function partsOf(options: Options, folder: string): Part[] {
  const { runs, only, compare } = options;
  const isWanted = (name: ScenarioName): boolean => only.length === 0 || only.includes(name);
  const programs = availablePrograms(compare);
  const parts: Part[] = scenarios
    .filter(({ name }) => isWanted(name))
    .map((scenario) => ({
      part: scenario.name,
      measure: async () => ({ scenarios: [await runScenario(scenario, programs, runs, folder)] }),
    }));
  if (isWanted("start")) {
    const measure = async () => ({ scenarios: [await runStart(runs, folder, compare)] });
    parts.push({ part: "start", measure });
  }
  if (isWanted("appearance")) {
    parts.push(
      {
        part: "appearance",
        measure: async () => ({ appearance: await measureAppearance(runs, folder) }),
      },
      { part: "waiting", measure: async () => ({ waiting: await measureWaiting(folder) }) },
    );
  }
  if (options.status) {
    const measure = async () => ({ status: await measureStatus(runs, folder) });
    parts.push({ part: "status", measure });
  }
  return parts;
}

export const nothingYet = (options: Options, folder: string): Measured => ({
  at: new Date().toISOString(),
  machine: describeMachine(folder),
  runs: options.runs,
  executableBytes: statSync(ours).size,
  scenarios: [],
  appearance: [],
  waiting: [],
  status: [],
  missing: [],
});

const withBars = (measured: Measured): Results => ({ ...measured, bars: barsOf(measured) });

/** Lets `keep` have what is known after each part, for a later one may end the bench. */
export async function measureParts(
  parts: readonly Part[],
  start: Measured,
  keep: (results: Results) => Promise<void>,
): Promise<Results> {
  const missing = new Map(parts.map(({ part }) => [part, "not measured yet"]));
  const listed = () => [...missing].map(([part, why]) => ({ part, why }));
  let results = withBars({ ...start, missing: listed() });
  await keep(results);
  for (const { part, measure } of parts) {
    let found: Found = {};
    try {
      found = await measure();
      missing.delete(part);
    } catch (error) {
      missing.set(part, error instanceof Error ? error.message : String(error));
    }
    // A signal from the terminal reaches the program that is being measured too, and fails it.
    const stopped = await isStopped();
    if (stopped) {
      for (const name of missing.keys()) missing.set(name, "the bench was stopped");
    }
    results = withBars({
      ...results,
      ...found,
      scenarios: [...results.scenarios, ...(found.scenarios ?? [])],
      missing: listed(),
    });
    await keep(results);
    if (stopped) break;
  }
  return results;
}
