import { primaryOffset } from "../../../src/btrfs/superblock.ts";
import { exitStatusOf } from "../../../src/volume/error.ts";
import type { Report } from "../../../src/volume/report.ts";
import type { FaultAt } from "../../kit/simulated/faults.ts";
import { type Blocks, sameContent } from "../../kit/simulated/storage.ts";
import type { World } from "../../kit/simulated/world.ts";
import { MiB, mirrorPlaces, recordPlace } from "./content.ts";
import { facets, filesystemOf, flaggedCount, lacking, storageOf } from "./facts.ts";
import { plainPaths } from "./inside.ts";
import type { Run } from "./run.ts";
import type { Scene } from "./scene.ts";

/** What holds whatever happened; each function gives the sentences that are not true. */

const contentOf = (world: World, scene: Scene): Blocks =>
  storageOf(world, scene)?.content() ?? new Map();

/** Where a run that keeps or repairs a filesystem may write, and the kernel for it. */
function mayBeWritten(): (offset: number) => boolean {
  const places = [primaryOffset, ...mirrorPlaces, recordPlace];
  const trees = [5 * MiB, 21 * MiB];
  return (offset) =>
    places.includes(offset) || trees.some((start) => offset >= start && offset < start + MiB);
}

/**
 * A disk that held something still holds it. `touched`: the run without a fault writes to the disk,
 * or has the kernel do so; if it does not, not one byte may differ.
 */
export function nothingLost(before: World, after: World, scene: Scene, touched: boolean): string[] {
  if (scene.action === "format") return [];
  const mayDiffer = touched ? mayBeWritten() : () => false;
  const broken: string[] = [];
  if (!sameContent(contentOf(before, scene), contentOf(after, scene), mayDiffer)) {
    broken.push("bytes of the disk were changed");
  }
  const held = filesystemOf(before, scene);
  if (held === null) return broken;
  const holds = filesystemOf(after, scene);
  for (const [path, entry] of held.tree) {
    const now = holds?.tree.get(path);
    const isThere =
      now?.kind === entry.kind &&
      (now.kind !== "directory" ||
        entry.kind !== "directory" ||
        plainPaths.includes(path) ||
        (now.flags & entry.flags) === entry.flags);
    if (!isThere) broken.push(`${path || "the filesystem"} is lost`);
  }
  return broken;
}

/** Nothing was formatted or written to that the policy and the verdict do not allow. */
export function onlyAllowedWrites(world: World, scene: Scene): string[] {
  const broken: string[] = [];
  const { action, start, device } = scene;
  const mayFormat = action === "format";
  const copies = [primaryOffset, ...mirrorPlaces];
  for (const effect of world.effects) {
    if (effect.kind === "mkfs" && !mayFormat) broken.push("it was formatted");
    if (effect.kind !== "write" || effect.by !== "program") continue;
    const { length } = effect;
    const offset = effect.offset - (effect.offset % 4096);
    const isRecord = offset === recordPlace && (mayFormat || start.record);
    const isRepair = offset === primaryOffset && (mayFormat || action === "repair");
    const isErasure = mayFormat && start.verdict !== "blank" && copies.includes(offset);
    if (effect.device !== device || length > 4096 || !(isRecord || isRepair || isErasure)) {
      broken.push(`${length} bytes were written to ${effect.device} at ${offset}`);
    }
  }
  return broken;
}

/** A note says what could not be taken back. */
const tellsOfRemains = ({ notes }: Report): boolean =>
  notes.some((note) => /could not be (put back|removed)|is left there/.test(note));

/** The report says what is so, and all of it. */
export function truthful(before: World, done: Run, scene: Scene): string[] {
  const { report, world } = done;
  const broken: string[] = [];
  const is = facets(world, scene);
  const held = facets(before, scene);
  // A new filesystem began with nothing in it.
  const isNewFilesystem = is.filesystem !== held.filesystem;
  const was = isNewFilesystem ? { ...held, subvolumes: "", nocow: "[]" } : held;
  const isNoted = tellsOfRemains(report);
  for (const { step, outcome } of report.steps) {
    const isWritten = world.effects.some(({ kind }) => kind === "write");
    const hasChanged =
      step === "filesystem"
        ? isWritten
        : is[step] !== was[step] && !(step === "capacity" && isNewFilesystem);
    if (step === "device" && isNoted) continue;
    if (outcome === "kept" && hasChanged) broken.push(`${step} is reported kept, but it changed`);
    if (outcome === "changed" && !hasChanged)
      broken.push(`${step} is reported changed, but is as it was`);
  }
  const reported = new Set(report.steps.map(({ step }) => step));
  for (const step of [
    "device",
    "mount",
    "capacity",
    "subvolumes",
    "mountpoints",
    "nocow",
  ] as const) {
    const isOther = isNewFilesystem && step !== "device";
    if (!reported.has(step) && is[step] !== was[step] && !isOther) {
      broken.push(`${step} changed and is not in the report`);
    }
  }
  for (const { subvolume, path } of report.mounts) {
    const mount = world.mounts.findLast(({ point }) => point === path);
    if (mount?.root !== `/${subvolume}`) broken.push(`${path} is reported as mounted`);
  }
  if (report.error !== undefined) {
    const { code } = report.error;
    if (code === "internal" || !(code in exitStatusOf)) broken.push(`it failed with ${code}`);
    return broken;
  }
  if (report.outcome === "unchanged" && world.effects.length > 0) {
    broken.push(`unchanged, but ${JSON.stringify(world.effects[0])}`);
  }
  const flagged = report.steps.find(({ step }) => step === "nocow")?.detail ?? "";
  // What could not be looked at may be flagged all the same, but none is that is not.
  if (Number.parseInt(flagged, 10) > flaggedCount(world, scene)) broken.push(`not ${flagged}`);
  const fsid = world.filesystemOn(scene.device)?.fsid;
  if (report.uuid !== fsid) broken.push(`the UUID is ${fsid}, not ${report.uuid}`);
  return [...broken, ...lacking(world, scene, report.notes)];
}

const mountList = (world: World): string[] =>
  world.mounts.map(({ point, filesystem, root }) => `${filesystem}${root} on ${point}`);

/** A run that failed has taken back its mounts, its loop device and its new image. */
export function takenBack(before: World, done: Run, scene: Scene, fault: FaultAt | null): string[] {
  const { report, world } = done;
  if (report.error === undefined) return [];
  const broken: string[] = [];
  const had = new Set(mountList(before));
  for (const { point, filesystem, root } of world.mounts) {
    if (had.has(`${filesystem}${root} on ${point}`)) continue;
    // Only a failing umount may leave one, and then a note says so.
    const isNamed = fault !== null && report.notes.some((note) => note.includes(point));
    if (!isNamed) broken.push(`${point} is left mounted`);
  }
  const has = new Set(mountList(world));
  for (const line of had) if (!has.has(line)) broken.push(`it unmounted ${line}`);
  const isNoted = tellsOfRemains(report);
  const extraLoop = [...world.loops.keys()].find((name) => !before.loops.has(name));
  if (extraLoop !== undefined && !isNoted) broken.push(`${extraLoop} is left attached`);
  const isWritten = world.effects.some(({ kind }) => kind === "write" || kind === "mkfs");
  const isNewImage = scene.start.isMissing && storageOf(world, scene) !== null;
  if (isNewImage && !isWritten && !isNoted) broken.push("the new image is left");
  return broken;
}

export function closed({ leftOpen }: Run): string[] {
  return leftOpen.map((path) => `${path} is left open`);
}
