import fc from "fast-check";
import { type Fault, type FaultAt, faultsOf } from "../../kit/simulated/faults.ts";
import { powerCut } from "../../kit/simulated/power-cut.ts";
import type { World } from "../../kit/simulated/world.ts";
import { closed, nothingLost, onlyAllowedWrites, takenBack, truthful } from "./claims.ts";
import { lacking } from "./facts.ts";
import { killedAt, type Run, run, runWithSnapshots } from "./run.ts";
import { type Scene, sceneOf } from "./scene.ts";
import type { Start } from "./start.ts";
import { tally } from "./tally.ts";

/** Where and how a run is disturbed: any number is taken modulo what there is. */
export const disturbances = fc.record({
  kind: fc.constantFrom("error", "error", "error", "kill", "power", "error-kill", "error-power"),
  at: fc.nat(),
  how: fc.nat(),
  lasting: fc.nat(7).map((n) => n === 7),
  end: fc.nat(),
});
export type Disturbance = typeof disturbances extends fc.Arbitrary<infer T> ? T : never;

function assertAll(what: string, broken: readonly string[], ...shown: readonly unknown[]): void {
  if (broken.length === 0) return;
  throw new Error(
    `${what}:\n  ${broken.join("\n  ")}\n${shown.map((one) => Bun.inspect(one, { depth: 6 })).join("\n")}`,
  );
}

const codeOf = ({ report }: Run): string | null => report.error?.code ?? null;

const mostRuns = 3;

/** After whatever happened, the next runs bring the volume up, or refuse it as they would have. */
function assertConverges(what: string, world: World, scene: Scene, wouldFail: string | null): void {
  for (let attempt = 1; ; attempt++) {
    tally.runs += 1;
    const before = world.clone();
    const next = run(world, scene);
    assertAll(
      `${what}, then run ${attempt}`,
      [...truthful(before, next, scene), ...closed(next)],
      next.report,
    );
    const code = codeOf(next);
    const unlike = code === wouldFail ? [] : [`it gave ${code}, not ${wouldFail}`];
    assertAll(`${what}, then run ${attempt}`, unlike, next.report);
    if (wouldFail !== null) return;
    const growsLater = next.report.notes.some((note) => note.includes("grows on the next run"));
    if (growsLater && attempt < mostRuns) continue;
    assertAll(`${what}, then up`, lacking(world, scene), next.report);
    if (next.report.outcome === "unchanged") return;
    if (attempt === mostRuns) throw new Error(`${what}: it never becomes unchanged`);
  }
}

interface Clean {
  readonly scene: Scene;
  readonly clean: ReturnType<typeof runWithSnapshots>;
  /** Without a fault, something is written to the disk. */
  readonly touched: boolean;
}

export function cleanRun(start: Start): Clean {
  const scene = sceneOf(start);
  const clean = runWithSnapshots(scene);
  const code = codeOf(clean);
  tally.starts += 1;
  tally.runs += 1;
  tally.calls += clean.calls.length;
  const touched = clean.world.effects.some(({ kind }) => kind !== "mount" && kind !== "unmount");
  const broken = [
    ...truthful(scene.world, clean, scene),
    ...takenBack(scene.world, clean, scene, null),
    ...nothingLost(scene.world, clean.world, scene, touched),
    ...onlyAllowedWrites(clean.world, scene),
    ...closed(clean),
  ];
  const { verdict } = clean.report;
  // At a glance these look like a Btrfs, and an occupied target is found before the kernel mounts it.
  const passesGlance = ["damaged", "ambiguous", "hopeless"].includes(start.verdict);
  if (
    verdict !== null &&
    verdict !== start.verdict &&
    !(verdict === "btrfs" && passesGlance && code !== null)
  ) {
    broken.push(`the verdict is ${verdict}`);
  }
  if (scene.refusals.size === 0 ? code !== null : !scene.refusals.has(code as never)) {
    broken.push(`it gave ${code}, and not one of ${[...scene.refusals].join() || "none"}`);
  }
  assertAll("without a fault", broken, clean.report);
  return { scene, clean, touched };
}

/** The same start once more, with a call that goes wrong. */
export function tryError(tried: Clean, fault: FaultAt): Disturbed {
  const { scene, clean, touched } = tried;
  tally.errors += 1;
  tally.runs += 1;
  const call = clean.calls[fault.at];
  const what = `call ${fault.at} of ${clean.calls.length} (${call?.name} ${call?.what}) goes wrong: ${JSON.stringify(fault)}`;
  const done = runWithSnapshots(scene, fault);
  const { world, report, snapshots } = done;
  assertAll(
    what,
    [
      ...truthful(scene.world, done, scene),
      ...takenBack(scene.world, done, scene, fault),
      ...nothingLost(scene.world, world, scene, touched),
      ...onlyAllowedWrites(world, scene),
      ...closed(done),
    ],
    report,
    world.effects.slice(-10),
  );
  assertConverges(what, world, scene, codeOf(clean));
  return { what, snapshots };
}

/** What a run did, as the worlds before it and after each thing that changed. */
interface Disturbed {
  readonly what: string;
  readonly snapshots: readonly World[];
}

/** The process dies after this effect; with it the machine, when there is a seed for what is lost. */
function tryDeath(
  { scene, clean, touched }: Clean,
  { what: before, snapshots }: Disturbed,
  at: number,
  powerSeed: number | null,
): void {
  if (powerSeed === null) tally.kills += 1;
  else tally.powerCuts += 1;
  const snapshot = snapshots[at] ?? scene.world;
  const after = `after effect ${at} of ${snapshots.length - 1}, ${JSON.stringify(snapshot.effects.at(-1))}`;
  const what = `${before}${powerSeed === null ? "killed" : `power cut (seed ${powerSeed})`} ${after}`;
  const world = powerSeed === null ? killedAt(snapshot) : powerCut(snapshot, powerSeed);
  assertAll(what, [
    ...nothingLost(scene.world, world, scene, touched),
    ...onlyAllowedWrites(snapshot, scene),
  ]);
  assertConverges(
    what,
    world,
    scene,
    powerSeed === null ? codeOf(clean) : codeAfterPowerCut(scene),
  );
}

/** What a run answers after a power cut before it: what was mounted in its way may be gone. */
function codeAfterPowerCut(scene: Scene): string | null {
  tally.runs += 1;
  return codeOf(run(powerCut(scene.world, 0), scene));
}

export function disturb(tried: Clean, { kind, at, how, lasting, end }: Disturbance): void {
  const { calls, snapshots } = tried.clean;
  let disturbed: Disturbed = { what: "", snapshots };
  if (kind.startsWith("error")) {
    const call = calls[at % calls.length];
    const faults: readonly Fault[] = call === undefined ? [] : faultsOf(call);
    const fault = faults[how % faults.length];
    if (fault === undefined) return;
    const { what, snapshots: faulty } = tryError(tried, { at: at % calls.length, fault, lasting });
    disturbed = { what: `${what}, and `, snapshots: faulty };
  }
  if (kind === "error") return;
  const seed = kind.endsWith("power") ? how : null;
  tryDeath(tried, disturbed, end % disturbed.snapshots.length, seed);
}

/** Death after each effect of this run: a kill, and as many power cuts. */
export function dieEverywhere(tried: Clean, powerCuts: number): void {
  const { snapshots } = tried.clean;
  for (const at of snapshots.keys()) {
    tryDeath(tried, { what: "", snapshots }, at, null);
    for (let seed = 0; seed < powerCuts; seed++) {
      tryDeath(tried, { what: "", snapshots }, at, seed);
    }
  }
}

/**
 * Every call of this run goes wrong in every way. Of many reads in a row, as of a disk that is proven
 * to be blank, only each `readStep`th.
 */
export function failEverywhere(tried: Clean, readStep: number): void {
  const { calls } = tried.clean;
  let reads = 0;
  for (const [at, call] of calls.entries()) {
    reads = call.name === "pread" ? reads + 1 : 0;
    if (reads > readStep && reads % readStep !== 0) continue;
    for (const fault of faultsOf(call)) tryError(tried, { at, fault, lasting: false });
  }
}
