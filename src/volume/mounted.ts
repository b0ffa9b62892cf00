import type { Kernel } from "../linux/kernel.ts";
import { type Mount, readMounts } from "../linux/mountinfo.ts";
import { goesWith, type Hung } from "./propagation.ts";
import type { Site } from "./site.ts";
import { isOwnMount } from "./targets.ts";

/** The mounts of a filesystem in our own mount namespace, and what hangs on them. */
export interface Mounted {
  /** What is where it belongs, in the order of the table; one may be mounted on another. */
  readonly own: readonly Hung[];
  /** What goes when ours go. */
  readonly copies: readonly Mount[];
  /** What stays when ours go. */
  readonly others: readonly Mount[];
  /** On ours and on their copies, or inside them. */
  readonly nested: readonly Mount[];
}

export const nothingMounted: Mounted = { own: [], copies: [], others: [], nested: [] };

/** So many mounts of one filesystem are told of; where there are more, these are reason enough to stop. */
const mostMounts = 1000;

/** The mounts of any Btrfs, or of one, that are where a part of the volume belongs. */
export function inPlace(site: Site, mounts: readonly Mount[], filesystem: string | null): Mount[] {
  const places = new Map(site.targets.map((target) => [target.path, target]));
  return mounts.filter((mount) => {
    const target = places.get(mount.path);
    const device = filesystem ?? mount.device;
    return target !== undefined && mount.type === "btrfs" && isOwnMount(target, mount, device);
  });
}

export function lookAtMounted(kernel: Kernel, site: Site, filesystem: string): Mounted {
  let count = 0;
  const all = readMounts(kernel, ({ device }) => device === filesystem && ++count <= mostMounts);
  const ids = new Set(all.map(({ id }) => id));
  const parentIds = new Set(all.map(({ parentId }) => parentId));
  let children = 0;
  const around = readMounts(
    kernel,
    ({ id, parentId }) => parentIds.has(id) || (ids.has(parentId) && ++children <= mostMounts),
  );
  const hung = (mount: Mount): Hung => ({
    mount,
    parent: around.find(({ id }) => id === mount.parentId),
  });

  const ours = inPlace(site, all, filesystem);
  const own = ours.map(hung);
  const rest = all.filter((mount) => !ours.includes(mount));
  const copies = rest.filter((mount) => own.some((one) => goesWith(hung(mount), one)));
  const others = rest.filter((mount) => !copies.includes(mount));
  const held = new Set([...ours, ...copies].map(({ id }) => id));
  const nested = around.filter(({ id, parentId }) => held.has(parentId) && !held.has(id));
  return { own, copies, others, nested };
}

/** Innermost first, and else the last first: so that each can go. */
export function inOrderOfGoing(own: readonly Hung[]): readonly Mount[] {
  const parents = new Map(own.map(({ mount }) => [mount.id, mount.parentId]));
  const depthOf = (id: number | undefined): number =>
    id === undefined || !parents.has(id) ? 0 : 1 + depthOf(parents.get(id));
  return own
    .map(({ mount }) => mount)
    .toReversed()
    .toSorted((one, other) => depthOf(other.id) - depthOf(one.id));
}
