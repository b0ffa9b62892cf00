import type { MountLine } from "../linux/mountinfo.ts";
import { MountTable, waysTo } from "../linux/mountinfo.ts";
import type { Kernel } from "../linux/kernel.ts";
import { answers, firstOnSilentDisk, firstSilent, hasOwnDisk, isAsking } from "./answering.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import type { Inside } from "./overlay.ts";
import { assertNoPlantedLink } from "./planted-links.ts";
import { automountOn, openRoot, type Root, type Target, targetsOf } from "./targets.ts";

/** Where the volume belongs, as it is on this machine. */
export interface Site {
  /** null while the directory given with --root does not exist. */
  readonly root: Root | null;
  /** The path of the root without links; of one that does not exist, as it was given. */
  readonly rootPath: string;
  readonly targets: readonly [whole: Target, ...subvolumes: Target[]];
  /** What of the mount table concerns the targets, and mounts of every Btrfs. */
  readonly table: MountTable;
}

/** So many lines of one filesystem are kept, because nobody would read more. */
const mostOfOneFilesystem = 64;

/**
 * Wants what is mounted at a target or on the way to it, and wherever it is a Btrfs, or a filesystem that has to ask
 * somebody.
 */
function relevance(targets: readonly Target[]): (line: MountLine) => boolean {
  const ways = new Set(targets.flatMap(({ path }) => waysTo(path)));
  const counts = new Map<string, number>();
  return (line) => {
    if (ways.has(line.path)) return true;
    if (line.type !== "btrfs" && !isAsking(line)) return false;
    const count = (counts.get(line.device) ?? 0) + 1;
    counts.set(line.device, count);
    return count <= mostOfOneFilesystem;
  };
}

/** Looks where the volume belongs, and walks into no automount. */
export function openSite({ kernel, options, layout, descriptors }: Context): Site {
  const given = options.root ?? "/";
  const targets = targetsOf(layout, given);
  const table = new MountTable(kernel, relevance(targets));
  assertNoAutomount(table, given);
  const mayBeSilent = table.all().some((mount) => isAsking(mount) || hasOwnDisk(mount, given));
  if (mayBeSilent && !answers(kernel, given)) {
    throw silent(`--root ${given}`, "name another directory with --root");
  }
  const root = openRoot(kernel, given);
  if (root !== null) descriptors.push(root.fd);
  assertNoPlantedLink(kernel, "--root", given, root?.path ?? null);
  if (root === null) return { root, rootPath: given, targets, table };
  const real = root.path === given ? targets : targetsOf(layout, root.path);
  const its = root.path === given ? table : new MountTable(kernel, relevance(real));
  assertAnswering(kernel, its, real);
  return { root, rootPath: root.path, targets: real, table: its };
}

/** What is mounted at a target itself is known without a question; what is on the way to it is walked into. */
function assertAnswering(kernel: Kernel, table: MountTable, targets: readonly Target[]): void {
  const asking = table.all().filter(isAsking);
  const isOnWay = (path: string): boolean =>
    asking.some((mount) => mount.path !== path && waysTo(path).includes(mount.path));
  const paths = targets.map(({ path }) => path).filter(isOnWay);
  const all = targets.map((target) => target.path);
  const path =
    (paths.length === 0 ? null : firstSilent(kernel, paths)) ??
    firstOnSilentDisk(kernel, table.all(), all);
  if (path !== null) throw silent(path, "mount below another directory with --root");
}

const silent = (what: string, hint: string): VolumeError =>
  new VolumeError(
    "target-occupied",
    `${what} does not answer: a daemon, a server or a disk is asked there`,
    {
      hint: `see what is mounted there (findmnt), and whether its daemon, its server or its disk works; or ${hint}`,
    },
  );

function assertNoAutomount(table: MountTable, root: string): void {
  const automount = automountOn(table, root);
  if (automount === null) return;
  throw new VolumeError(
    "target-occupied",
    `--root ${root} is on an automount (${automount}), which may wait for ever`,
    { hint: "mount what belongs there first, or name another directory with --root" },
  );
}

/** Where layers of overlays may lie though nothing is mounted there any more. */
export const placesOf = ({ targets }: Site): Inside => ({
  paths: targets.map(({ path }) => path),
  mountIds: new Set(),
  until: null,
});
