import { afterAll, test } from "bun:test";
import fc from "fast-check";
import { depth } from "../../kit/depth.ts";
import { cleanRun, dieEverywhere, disturb, disturbances, failEverywhere } from "./disturb.ts";
import { type Start, starts, usualStart } from "./start.ts";
import { tallyText } from "./tally.ts";

// ARCBOX_SEED=N tries other starts; a failure prints its seed and path, and shrinks.
const seed = Number(process.env.ARCBOX_SEED ?? 1);

afterAll(() => console.log(tallyText()));

test("whatever fails, whenever it dies: nothing is lost, the report is true, the next run goes on", () => {
  const some = fc.array(disturbances, { minLength: 1, maxLength: depth(5, 12) });
  fc.assert(
    fc.property(starts, some, (start, all) => {
      const tried = cleanRun(start);
      for (const one of all) disturb(tried, one);
    }),
    { numRuns: depth(1500, 30_000), seed, includeErrorInReport: true },
  );
});

const usual: readonly (readonly [name: string, start: Partial<Start>])[] = [
  ["a blank disk", { verdict: "blank" }],
  ["an image that does not exist yet", { verdict: "blank", source: "image", isMissing: true }],
  ["a damaged disk that has grown", { verdict: "damaged", variant: 1, grown: true }],
  ["a foreign disk that may be formatted", { verdict: "foreign", variant: 2, format: "any" }],
  ["a volume that is mounted in part", { verdict: "mounted", mounted: [true, true, false] }],
];

test.each(usual)("%s: each call fails in each way, death after each effect", (_, start) => {
  const tried = cleanRun({ ...usualStart, ...start });
  failEverywhere(tried, depth(16, 1));
  dieEverywhere(tried, depth(2, 50));
});

test("the same of any start, in a deep run of many", () => {
  for (const start of fc.sample(starts, { numRuns: depth(1, 400), seed })) {
    const tried = cleanRun(start);
    failEverywhere(tried, 4);
    dieEverywhere(tried, 5);
  }
});
