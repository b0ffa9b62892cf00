// Measures this program beside the least that is possible and beside what others do: `npm run
// bench` starts it as root in a mount namespace of its own (scripts/run.sh says why).
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verdictOf } from "./bars.ts";
import { build } from "./build.ts";
import { chart } from "./chart.ts";
import { filled, measuredText } from "./document.ts";
import { measureFormatOptions } from "./format-options.ts";
import { isStopped, stopOnSignals } from "./interruption.ts";
import { load } from "./machine.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { measureParts, nothingYet, partsOf } from "./parts.ts";
import type { Results } from "./results.ts";
import { barsTable, figures } from "./table.ts";

const quietLoad = 0.5;
/** As a shell says that SIGINT ended a program. */
const stoppedStatus = 130;

async function writeJson(path: string, value: unknown): Promise<void> {
  await Bun.write(path, `${JSON.stringify(value, null, 2)}\n`);
}

const document = "docs/performance.md";

async function writeDocuments(results: Results): Promise<void> {
  await writeJson("docs/performance.json", results);
  await Bun.write("docs/performance.svg", chart(results));
  await Bun.write(document, filled(await Bun.file(document).text(), measuredText(results)));
  console.log(`written: ${document}, and .json and .svg beside it`);
}

/** True when all that was asked for has been measured. */
async function measureAll(options: Options, folder: string): Promise<boolean> {
  const kept = "dist/performance.json";
  const keep = (results: Results) => writeJson(kept, results);
  const results = await measureParts(partsOf(options, folder), nothingYet(options, folder), keep);
  console.log(figures(results) + barsTable(results.bars));
  console.log(`${verdictOf(results.bars)}\nwritten: ${kept}`);
  await Bun.write("dist/performance.svg", chart(results));
  const isWhole = results.missing.length === 0;
  if (isWhole && options.write) await writeDocuments(results);
  for (const { part, why } of results.missing) console.error(`missing: ${part}: ${why}`);
  if (!isWhole && options.write) console.error("docs/ is left as it was.");
  return isWhole;
}

async function bench(options: Options, folder: string): Promise<boolean> {
  build();
  if (load() > quietLoad) console.error("This machine is busy: only ratios mean something.");
  if (!options.formatOptions) return measureAll(options, folder);
  const found = await measureFormatOptions(options.runs, folder);
  const path = options.write ? "docs/format-options.json" : "dist/format-options.json";
  await writeJson(path, found);
  console.log(`written: ${path}`);
  return true;
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
    const isWhole = await bench(options, folder);
    if (await isStopped()) return stoppedStatus;
    return isWhole ? 0 : 1;
  } catch (error) {
    const stopped = await isStopped();
    console.error(stopped ? "\nStopped, and cleaned up." : `\nThe bench failed: ${String(error)}`);
    return stopped ? stoppedStatus : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
