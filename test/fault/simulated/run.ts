import type { Report } from "../../../src/volume/report.ts";
import { up } from "../../../src/volume/up.ts";
import { type Call, type FaultAt, FaultyKernel } from "../../kit/simulated/faults.ts";
import { SimulatedKernel } from "../../kit/simulated/kernel.ts";
import type { World } from "../../kit/simulated/world.ts";
import type { Scene } from "./scene.ts";

/** One run of `up` and what is left of it. */
export interface Run {
  readonly report: Report;
  readonly world: World;
  readonly calls: readonly Call[];
  /** Paths of what it did not close. */
  readonly leftOpen: readonly string[];
}

/** Runs `up` in this world, which changes. Throws what `up` throws, and it must not throw. */
export function run(world: World, { options }: Scene, fault: FaultAt | null = null): Run {
  world.effects.length = 0;
  const simulated = new SimulatedKernel(world);
  const faulty = new FaultyKernel(simulated, fault);
  const path = process.env.PATH;
  process.env.PATH = "/usr/sbin:/usr/bin";
  const report = up(faulty.kernel, options, () => undefined);
  process.env.PATH = path;
  const leftOpen = [...simulated.process.files.values()].map(({ path }) => path);
  simulated.exit();
  return { report, world, calls: faulty.calls, leftOpen };
}

/** A run from the start, and the world as it was before it and after each thing that changed. */
export function runWithSnapshots(
  scene: Scene,
  fault: FaultAt | null = null,
): Run & { readonly snapshots: readonly World[] } {
  const world = scene.world.clone();
  const snapshots = [scene.world];
  world.onEffect = () => {
    const copy = world.clone();
    copy.effects.push(...world.effects);
    snapshots.push(copy);
  };
  const done = run(world, scene, fault);
  world.onEffect = null;
  return { ...done, snapshots };
}

/** The process died here: what it held is gone, what it had done is not. */
export function killedAt(snapshot: World): World {
  const world = snapshot.clone();
  const kept = new Set([...world.loops.values()].map(({ description }) => description));
  for (const [key, owner] of world.locks) if (!kept.has(owner)) world.locks.delete(key);
  world.rangeLocks = world.rangeLocks.filter(({ description }) => kept.has(description));
  return world;
}
