import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { barsOf, verdictOf } from "../../bench/bars.ts";
import { interleaved } from "../../bench/boot.ts";
import { filled, measuredText } from "../../bench/document.ts";
import { parseOptions } from "../../bench/options.ts";
import { measureParts, type Part } from "../../bench/parts.ts";
import type { Bar, Measured, ProgramResult, ScenarioResult } from "../../bench/results.ts";
import { median, pairedRatio } from "../../bench/sample.ts";
import { columns } from "../../bench/table.ts";
import { lackingCompiler } from "./support/c-program.ts";
import { describeWhere } from "./support/gate.ts";
import { output, withFolder } from "./support/golden.ts";

test("the median is the middle one, or between the two in the middle", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 1, 2, 4])).toBe(3);
  expect(median([])).toBeNaN();
});

test("a round in which the whole machine was slow does not change the ratio", () => {
  expect(pairedRatio([2, 2, 200], [1, 1, 100])).toBe(2);
  expect(pairedRatio([2, 200, 200], [1, 100, 1])).toBe(2);
});

test("the contenders take turns, each begins a round, and the first round does not count", async () => {
  const order: string[] = [];
  const contender = (name: string) => () => {
    order.push(name);
    return order.length;
  };
  const results = await interleaved("turns", 3, [contender("a"), contender("b"), contender("c")]);
  expect(order.join("")).toBe("abcbcacababc");
  expect(results.map((runs) => runs.length)).toEqual([3, 3, 3]);
  expect(results[0]?.[0]).toBe(6);
});

const result = (program: string, changes: Partial<ProgramResult>): ProgramResult => ({
  program,
  title: program,
  wallMs: 5,
  leastWallMs: 5,
  cpuMs: 5,
  peakRssMib: 40,
  writtenKib: 0,
  generations: 0,
  processes: 0,
  toLimit: 4,
  toRust: 0.9,
  cpuToRust: 0.9,
  ...changes,
});

const nothing: Measured = {
  at: "",
  machine: {
    architecture: "x64",
    kernel: "",
    cpus: "",
    memoryGib: 0,
    mkfs: "",
    busybox: "",
    imagesOn: "",
  },
  runs: 1,
  executableBytes: 1_200_000,
  scenarios: [],
  appearance: [],
  waiting: [],
  status: [],
  missing: [],
};

const scenarioOf = (scenario: string, ...programs: readonly ProgramResult[]): ScenarioResult => ({
  scenario,
  title: scenario,
  programs,
});

const warmBars = (changes: Partial<ProgramResult>) =>
  barsOf({ ...nothing, scenarios: [scenarioOf("warm", result("ours", changes))] });

const missed = (bars: readonly Bar[]) => bars.filter(({ met }) => !met).map(({ bar }) => bar);

test("a bar is met up to what it allows, and not beyond", () => {
  const least = { toRust: 0.75, cpuToRust: 0.75, peakRssMib: 3 };
  expect(missed(warmBars(least))).toEqual([]);
  const beyond = (changes: Partial<ProgramResult>) => missed(warmBars({ ...least, ...changes }));
  expect(beyond({ toRust: 0.76 })).toEqual(["warm boot, wall, to the Rust procedure"]);
  expect(beyond({ cpuToRust: 0.76 })).toEqual(["warm boot, CPU, to the Rust procedure"]);
  expect(beyond({ peakRssMib: 3.1 })).toEqual(["warm boot, peak RSS"]);
  expect(beyond({ writtenKib: 4 })).toEqual(["warm boot, KiB written"]);
  expect(beyond({ generations: 1 })).toEqual(["warm boot, generations"]);
  expect(beyond({ processes: 1 })).toEqual(["warm boot, processes started"]);
});

test("the size is a bar on the architecture it was promised for", () => {
  const size = "executable, stripped, x86-64";
  const large = { ...nothing, executableBytes: 1_600_001 };
  expect(missed(barsOf(large))).toEqual([size]);
  const arm64 = { ...nothing.machine, architecture: "arm64" };
  expect(barsOf({ ...large, machine: arm64 })).toEqual([]);
});

test("a bar shows what is allowed, what is aimed at and what Bun's executable reached", () => {
  const version = result("version", { toLimit: 3.004 });
  const bars = barsOf({ ...nothing, scenarios: [scenarioOf("start", version)] });
  expect(bars.find(({ bar }) => bar.startsWith("--version"))).toEqual({
    bar: "--version, to an empty static C program",
    measured: "3.00 ×",
    allowed: "3.50 ×",
    aim: "2.50 ×",
    bunBuilt: "10.00 ×",
    met: true,
  });
});

test("a number that is not known meets no bar", () => {
  const bars = warmBars({ writtenKib: null, toRust: null, peakRssMib: Number.NaN });
  expect(missed(bars)).toEqual([
    "warm boot, wall, to the Rust procedure",
    "warm boot, CPU, to the Rust procedure",
    "warm boot, peak RSS",
    "warm boot, KiB written",
  ]);
});

test("what was not measured has no bar", () => {
  expect(barsOf(nothing).map(({ bar }) => bar)).toEqual(["executable, stripped, x86-64"]);
});

test("the verdict names each bar that is missed", () => {
  const [met, other] = barsOf({ ...nothing, executableBytes: 1 });
  expect(other).toBeUndefined();
  const bar = { bar: "", measured: "", allowed: "", aim: null, bunBuilt: null, met: true, ...met };
  expect(verdictOf([bar])).toBe("1 of 1 bars are met.");
  const bars = [bar, { ...bar, bar: "one", met: false }, { ...bar, bar: "two", met: false }];
  expect(verdictOf(bars)).toBe("1 of 3 bars are met. Missed: one; two.");
});

const part = (name: string, measure = async () => ({ scenarios: [scenarioOf(name)] })): Part => ({
  part: name,
  measure,
});
const failing = (name: string): Part =>
  part(name, async () => {
    throw new Error("no loop device");
  });

test("a part that fails costs no other one its results, and is named as missing", async () => {
  const parts = [part("warm"), failing("cold"), part("start")];
  const results = await measureParts(parts, nothing, async () => undefined);
  expect(results.scenarios.map(({ scenario }) => scenario)).toEqual(["warm", "start"]);
  expect(results.missing).toEqual([{ part: "cold", why: "no loop device" }]);
});

test("what is known is kept before the first part and after each, with what is still missing", async () => {
  const kept: string[] = [];
  await measureParts([part("warm"), part("cold")], nothing, async ({ scenarios, missing }) => {
    const names = [scenarios.map(({ scenario }) => scenario), missing.map(({ part }) => part)];
    kept.push(names.join(" but "));
  });
  expect(kept).toEqual([" but warm,cold", "warm but cold", "warm,cold but "]);
});

test("the figures of a run replace those between their marks, and nothing else", () => {
  const page = (text: string) => `a\n<!-- measured: x -->\n${text}\n<!-- end -->\nb\n`;
  expect(filled(page("old\nlines"), { x: "new $& text" })).toBe(page("new $& text"));
  expect(() => filled("a\n", { x: "" })).toThrow("there is no place for the x");
});

test("docs/performance.md has a place for everything that a run writes there", () => {
  const page = readFileSync(join(import.meta.dir, "../../docs/performance.md"), "utf8");
  const texts = measuredText({ ...nothing, bars: barsOf(nothing) });
  expect(filled(page, texts)).toContain(texts.bars ?? "nothing");
});

test("what is written to docs/ is never a part of a run", () => {
  expect(() => parseOptions(["--write", "--only", "warm"])).toThrow("--write takes all parts");
  expect(parseOptions(["--write"]).write).toBe(true);
});

describeWhere(lackingCompiler(), "the runner in C", () => {
  // Bun needs 20 MiB and more; a program that it starts has shared them until it is executed.
  test("says the peak of memory of the program, however large who measures it", () => {
    const peakMib = withFolder((folder) => {
      const compiled = (name: string): string => {
        const [source, path] = [
          join(import.meta.dir, `../../bench/c/${name}.c`),
          join(folder, name),
        ];
        output("gcc", "-O2", "-static", "-o", path, source);
        return path;
      };
      const [, , peakKib] = output(compiled("spawn"), compiled("empty")).trim().split(" ");
      return Number(peakKib) / 1024;
    });
    expect(peakMib).toBeGreaterThan(0);
    expect(peakMib).toBeLessThan(1);
  });
});

test("a table keeps its columns, the first to the left and the others to the right", () => {
  expect(
    columns([
      ["", "ms"],
      ["one", "10.5"],
      ["another", "2"],
    ]),
  ).toBe("           ms\none      10.5\nanother     2");
});
