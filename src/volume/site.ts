import type { MountLine } from "../linux/mountinfo.ts";
import { MountTable, waysTo } from "../linux/mountinfo.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import type { Inside } from "./overlay.ts";
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

/** Of one filesystem no more lines are kept than a person would read. */
const mostOfOneFilesystem = 64;

/** Wants what is mounted at a target or on the way to it, and a Btrfs wherever it is. */
function relevance(targets: readonly Target[]): (line: MountLine) => boolean {
  const ways = new Set(targets.flatMap(({ path }) => waysTo(path)));
  const longest = Math.max(...[...ways].map((way) => way.length));
  // A character is up to 3 bytes of UTF-8 here, and an escaped byte 4 in the table.
  const longestBytes = longest * 3 * 4;
  const counts = new Map<string, number>();
  return (line) => {
    if (line.pathBytes <= longestBytes && ways.has(line.path)) return true;
    if (line.type !== "btrfs") return false;
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
  const root = openRoot(kernel, given);
  if (root === null) return { root, rootPath: given, targets, table };
  descriptors.push(root.fd);
  if (root.path === given) return { root, rootPath: given, targets, table };
  const real = targetsOf(layout, root.path);
  const its = new MountTable(kernel, relevance(real));
  return { root, rootPath: root.path, targets: real, table: its };
}

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
