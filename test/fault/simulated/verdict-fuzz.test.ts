import { expect, test } from "bun:test";
import type { Verdict } from "../../../src/volume/verdict.ts";
import { depth } from "../../kit/depth.ts";
import { Random } from "../../kit/random.ts";
import { assertZerosIntact, type Sketch } from "../../kit/sketch.ts";
import { checkVerdict } from "../../kit/verdict-check.ts";
import { mutate } from "../../kit/verdict-mutations.ts";
import { seedSketches } from "../../kit/verdict-seeds.ts";

/**
 * Disks that nobody planned: sketches of every kind of disk, changed by mutations that know what a
 * superblock is, each judged and held against oracles of its own (test/kit/verdict-oracle.ts). A case
 * whose verdict came about in a new way is kept and changed further.
 */

/** In the slice the first seed of all; in full a million disks. ARCBOX_FUZZ_SEED=N runs one batch. */
const batches = depth(12, 1000);
const casesOfBatch = 1000;
const firstSeed = 20_260_101;
const corpusLimit = 512;

const onlySeed = process.env.ARCBOX_FUZZ_SEED;
const seeds =
  onlySeed === undefined
    ? Array.from({ length: batches }, (_, i) => firstSeed + i)
    : [Number(onlySeed)];

/** A case in words, short enough to be read. */
function described(sketch: Sketch): string {
  const { sizeBytes, unreadable, isFile, blocks } = sketch;
  const pieces = [...blocks].map(([number, block]) => {
    const bytes = Buffer.from(block)
      .toString("hex")
      .replace(/(00)+$/, "");
    return `  ${number * 4096}: ${bytes.length > 1300 ? `${bytes.slice(0, 1300)}…` : bytes}`;
  });
  return `${sizeBytes} bytes${isFile ? ", a file" : ""}, unreadable ${JSON.stringify(unreadable)}\n${pieces.join("\n")}`;
}

/** Runs one batch; gives how often each verdict came out. */
function fuzz(seed: number): Map<Verdict["kind"], number> {
  const random = new Random(seed);
  const corpus = [...seedSketches()];
  const ways = new Set<string>();
  const counts = new Map<Verdict["kind"], number>();
  for (let i = 0; i < casesOfBatch; i++) {
    const { sketch, done } = mutate(random, random.pick(corpus), random.pick(corpus));
    try {
      const { verdict, meter } = checkVerdict(sketch);
      counts.set(verdict.kind, (counts.get(verdict.kind) ?? 0) + 1);
      const name = verdict.kind === "foreign" ? verdict.name : "";
      const way = `${verdict.kind} ${name} ${Math.min(meter.reads, 64)} ${sketch.blocks.size}`;
      if (!ways.has(way) && corpus.length < corpusLimit) corpus.push(sketch);
      ways.add(way);
    } catch (error) {
      throw new Error(
        `ARCBOX_FUZZ_SEED=${seed}, case ${i} (${done.join(", ")}): ${String(error)}\n${described(sketch)}`,
        { cause: error },
      );
    }
  }
  assertZerosIntact();
  return counts;
}

const reachable: readonly Verdict["kind"][] = [
  "ambiguous",
  "blank",
  "btrfs",
  "damaged",
  "foreign",
  "hopeless",
  "interrupted",
  "multi-device",
  "shrunk",
  "unknown",
  "unreadable",
  "wiped",
];

test("every seed of the corpus is judged as it must be", () => {
  const kinds = new Set(seedSketches().map((sketch) => checkVerdict(sketch).verdict.kind));
  const onlyMutated: readonly Verdict["kind"][] = ["foreign", "hopeless", "unreadable"];
  expect([...kinds].sort()).toEqual(reachable.filter((kind) => !onlyMutated.includes(kind)));
});

test(`${seeds.length * casesOfBatch} disks that nobody planned`, () => {
  const counts = new Map<Verdict["kind"], number>();
  for (const seed of seeds) {
    for (const [kind, count] of fuzz(seed)) counts.set(kind, (counts.get(kind) ?? 0) + count);
  }
  if (onlySeed !== undefined) return;
  // A fuzzer that hardly ever reaches a verdict proves nothing about it.
  const often = reachable.filter((kind) => (counts.get(kind) ?? 0) >= seeds.length * 5);
  expect(often).toEqual([...reachable]);
});
