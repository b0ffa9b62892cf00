import { parseArgs } from "node:util";

export interface Options {
  /** Counted runs of each program in each scenario. */
  readonly runs: number;
  /** Names of scenarios; all when empty. */
  readonly only: readonly ScenarioName[];
  /** Another executable of ours to run beside the built one. */
  readonly compare: string | undefined;
  /** Where the images go. */
  readonly folder: string | undefined;
  /** Also measures `status` on a volume that takes minutes to fill. */
  readonly status: boolean;
  /** Measures what mkfs options cost, and nothing else. */
  readonly formatOptions: boolean;
  /** Writes the files in docs/. */
  readonly write: boolean;
}

const leastRuns = 1;

const scenarioNames = [
  "warm",
  "mounted",
  "cold",
  "cold-large",
  "growth",
  "start",
  "appearance",
] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export const usage = `npm run bench -- [options]
  --runs N           counted runs of each (default 25; of --format-options 3 rounds)
  --only A,B         some scenarios: ${scenarioNames.join(", ")}
  --status           also \`status\` on a volume of 10,000 subvolumes and 1,000,000 files (minutes)
  --format-options   the node sizes of mkfs.btrfs on what a container host does (minutes), only that
  --compare FILE     also this executable of the same program
  --folder DIR       where the images go (default: the temporary folder)
  --write            write docs/performance.*, which takes all parts, or docs/format-options.json

What is known after each part is in dist/performance.json, so a part that fails costs no other one.`;

function scenarioNamed(word: string): ScenarioName {
  const name = scenarioNames.find((known) => known === word);
  if (name === undefined) throw new TypeError(`--only: there is no scenario ${word}`);
  return name;
}

/** Throws a TypeError that names the wrong flag. */
export function parseOptions(words: string[]): Options {
  const { values } = parseArgs({
    args: words,
    options: {
      runs: { type: "string" },
      only: { type: "string", default: "" },
      status: { type: "boolean", default: false },
      "format-options": { type: "boolean", default: false },
      compare: { type: "string" },
      folder: { type: "string" },
      write: { type: "boolean", default: false },
    },
  });
  const formatOptions = values["format-options"];
  const runs = Number(values.runs ?? (formatOptions ? 3 : 25));
  if (!Number.isInteger(runs) || runs < leastRuns) throw new TypeError("--runs takes a number");
  const only = values.only.split(",").filter(Boolean).map(scenarioNamed);
  if (values.write && only.length > 0) throw new TypeError("--write takes all parts: not --only");
  return {
    runs,
    only,
    compare: values.compare,
    folder: values.folder,
    status: values.status,
    formatOptions,
    write: values.write,
  };
}
