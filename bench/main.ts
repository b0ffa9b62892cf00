// Measures this program beside the least that is possible and beside what others do: `npm run
// bench` starts it as root in a mount namespace of its own (scripts/run.sh says why).
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureAppearance, measureWaiting } from "./appearance.ts";
import { barsOf } from "./bars.ts";
import { runScenario, runStart } from "./boot.ts";
import { build } from "./build.ts";
import { chart } from "./chart.ts";
import { measureFormatOptions } from "./format-options.ts";
import { measureInside } from "./inside.ts";
import { isStopped, stopOnSignals } from "./interruption.ts";
import { describeMachine, load } from "./machine.ts";
import { type Options, parseOptions, type ScenarioName, usage } from "./options.ts";
import { availablePrograms } from "./programs.ts";
import type { Results, ScenarioResult } from "./results.ts";
import { scenarios } from "./scenarios.ts";
import { measureStatus } from "./status.ts";
import { tableOf } from "./table.ts";

const quietLoad = 0.5;

async function measure(options: Options, folder: string): Promise<Results> {
  const { runs, only, compare } = options;
  const isWanted = (name: ScenarioName): boolean => only.length === 0 || only.includes(name);
  const programs = availablePrograms(compare);
  const boots: ScenarioResult[] = [];
  for (const scenario of scenarios) {
    if (isWanted(scenario.name)) boots.push(await runScenario(scenario, programs, runs, folder));
  }
  if (isWanted("start")) boots.push(await runStart(runs, folder, compare));
  const measured = {
    at: new Date().toISOString(),
    machine: describeMachine(folder),
    runs,
    scenarios: boots,
    insideMs: isWanted("warm") ? measureInside(runs, folder) : null,
    appearance: isWanted("appearance") ? await measureAppearance(runs, folder) : [],
    waiting: isWanted("appearance") ? await measureWaiting(folder) : [],
    status: options.status ? await measureStatus(runs, folder) : [],
  };
  return { ...measured, bars: barsOf(measured) };
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Bun.write(path, `${JSON.stringify(value, null, 2)}\n`);
  console.log(`written: ${path}`);
}

async function bench(options: Options, folder: string): Promise<void> {
  build();
  if (load() > quietLoad) console.error("This machine is busy: only ratios mean something.");
  if (options.formatOptions) {
    const found = await measureFormatOptions(options.runs, folder);
    await writeJson(options.write ? "docs/format-options.json" : "dist/format-options.json", found);
    return;
  }
  const results = await measure(options, folder);
  console.log(tableOf(results));
  await writeJson(options.write ? "docs/performance.json" : "dist/performance.json", results);
  await Bun.write(options.write ? "docs/performance.svg" : "dist/performance.svg", chart(results));
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return 2;
  }
  stopOnSignals();
  const folder = realpathSync(mkdtempSync(join(options.folder ?? tmpdir(), "arcbox-bench-")));
  try {
    await bench(options, folder);
    return 0;
  } catch (error) {
    // A signal from the terminal reaches the program that is being measured too, and fails it.
    const stopped = await isStopped();
    console.error(stopped ? "\nStopped, and cleaned up." : `\nThe bench failed: ${String(error)}`);
    return stopped ? 130 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
