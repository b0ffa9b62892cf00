import { GiB } from "../test/kit/image.ts";
import { built, ours } from "./build.ts";
import type { Disk } from "./disk.ts";
import type { ScenarioName } from "./options.ts";
import type { ProgramName } from "./programs.ts";

const TiB = 1024 * GiB;
export const smallBytes = 64 * GiB;
const largeBytes = 8 * TiB;

/** One program's place in a scenario: its disk, and how it brings that up. */
export interface Lane {
  readonly disk: Disk;
  readonly up: readonly string[];
  /** Where `prepare` may keep an image. */
  readonly template: string;
  /** Brings it up once without measuring. */
  readonly runOnce: () => void;
}

export interface Scenario {
  readonly name: ScenarioName;
  readonly title: string;
  readonly sizeBytes: number;
  readonly without: readonly ProgramName[];
  /** Once, before the first run. */
  readonly prepare: (lane: Lane) => void;
  /** Before each run, outside the measured time. */
  readonly reset: (lane: Lane) => void;
}

const formatted = ({ disk, runOnce }: Lane): void => {
  disk.blank();
  runOnce();
  disk.unmount();
};

const cold = (name: ScenarioName, title: string, sizeBytes: number): Scenario => ({
  name,
  title,
  sizeBytes,
  without: [],
  prepare: () => {},
  reset: ({ disk }) => disk.blank(),
});

export const scenarios: readonly Scenario[] = [
  {
    name: "warm",
    title: "every boot: the volume is there, nothing is mounted (64 GiB)",
    sizeBytes: smallBytes,
    without: [],
    prepare: formatted,
    reset: ({ disk }) => disk.unmount(),
  },
  {
    name: "mounted",
    title: "everything is mounted already (64 GiB)",
    sizeBytes: smallBytes,
    // A script or a unit that has run is not run again.
    without: ["script", "systemd"],
    prepare: formatted,
    reset: ({ disk, runOnce }) => {
      if (disk.mountedPaths.length === 0) runOnce();
    },
  },
  cold("cold", "first boot: a blank disk of 64 GiB", smallBytes),
  cold("cold-large", "first boot: a blank disk of 8 TiB", largeBytes),
  {
    name: "growth",
    title: "the disk has grown from 64 GiB to 8 TiB",
    sizeBytes: largeBytes,
    without: [],
    prepare: ({ disk, template, runOnce }) => {
      disk.blank();
      disk.showAs(smallBytes, runOnce);
      disk.keepAs(template, smallBytes);
    },
    reset: ({ disk, template }) => disk.restore(template),
  },
];

/** What only starts and ends. */
export const startPrograms = [
  { program: "limit", title: "an empty program in C", words: [built("empty")] },
  { program: "version", title: "arcbox-agent --version", words: [ours, "--version"] },
] as const;
