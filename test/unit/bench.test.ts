import { expect, test } from "bun:test";
import { barsOf } from "../../bench/bars.ts";
import { interleaved } from "../../bench/boot.ts";
import type { ProgramResult } from "../../bench/results.ts";
import { median, pairedRatio } from "../../bench/sample.ts";
import { columns } from "../../bench/table.ts";

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

const nothing = {
  at: "",
  machine: { kernel: "", cpus: "", memoryGib: 0, mkfs: "", bun: "", imagesOn: "" },
  runs: 1,
  insideMs: null,
  appearance: [],
  waiting: [],
  status: [],
};

const warmBars = (changes: Partial<ProgramResult>) =>
  barsOf({
    ...nothing,
    scenarios: [{ scenario: "warm", title: "", programs: [result("ours", changes)] }],
  });

test("a bar is met up to what it allows, and not beyond", () => {
  expect(warmBars({ toRust: 1 }).map(({ met }) => met)).toEqual([true, true, true, true, true]);
  const unmet = (changes: Partial<ProgramResult>) =>
    warmBars(changes)
      .filter(({ met }) => !met)
      .map(({ bar }) => bar);
  expect(unmet({ toRust: 1.01 })).toEqual(["every boot, wall, to the Rust procedure"]);
  expect(unmet({ writtenKib: 4 })).toEqual(["every boot, KiB written"]);
  expect(unmet({ generations: 1 })).toEqual(["every boot, generations"]);
  expect(unmet({ processes: 1 })).toEqual(["every boot, processes started"]);
});

test("a number that is not known meets no bar", () => {
  expect(warmBars({ writtenKib: null }).filter(({ met }) => !met)).toHaveLength(1);
});

test("what was not measured has no bar", () => {
  expect(barsOf({ ...nothing, scenarios: [] })).toEqual([]);
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
