import { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { mountIdOf, openAtOnce, withFd } from "../linux/files.ts";
import { type Kernel, O_PATH } from "../linux/kernel.ts";
import { type Mount, mountLines } from "../linux/mountinfo.ts";
import { followSlowly } from "./slow-look.ts";

/** Options of an overlay that name its directories (Documentation/filesystems/overlayfs.rst). */
const singles = ["upperdir=", "workdir=", "lowerdir+=", "datadir+="];
const list = "lowerdir=";

/** What is between colons that no backslash escapes, as it was given to mount(8). */
const listed = (value: string): readonly string[] => value.match(/(?:\\.|[^\\:])+/gsu) ?? [];
const withoutBackslashes = (path: string): string => path.replace(/\\(.)/gsu, "$1");

/** The directories that an overlay is made of, as they were named when it was mounted. */
export function layersOf({ superOptions }: Pick<Mount, "superOptions">): readonly string[] {
  return superOptions.flatMap((option) => {
    if (option.startsWith(list)) return listed(option.slice(list.length)).map(withoutBackslashes);
    const single = singles.find((name) => option.startsWith(name));
    return single === undefined ? [] : [option.slice(single.length)];
  });
}

/** Where layers of overlays may lie: in what is mounted, and at paths where it was. */
export interface Inside {
  readonly paths: readonly string[];
  readonly mountIds: ReadonlySet<number>;
  /** Until when names are followed that are links, which may lead to somebody who does not answer. */
  readonly until: Deadline | null;
}

const followMs = 1000;
/** For one link; most of that is for the child to start. */
const answerMs = 400;

export const insideOf = (kernel: Kernel, mounts: readonly Mount[]): Inside => ({
  paths: mounts.map(({ path }) => path),
  mountIds: new Set(mounts.map(({ id }) => id)),
  until: new Deadline(kernel, followMs),
});

/**
 * The first of an overlay's layers that lies inside; null when none does. A name may lead there by links; one
 * that is not absolute was relative to a directory that is not recorded, so it is left out.
 */
export function layerInside(kernel: Kernel, overlay: Mount, inside: Inside): string | null {
  const isBelow = (layer: string): boolean =>
    inside.paths.some((path) => layer === path || layer.startsWith(`${path}/`));
  const layers = layersOf(overlay).filter((path) => path.startsWith("/"));
  return layers.find(isBelow) ?? layers.find((path) => leadsInto(kernel, path, inside)) ?? null;
}

/** A living overlay keeps the way to its layers known, so nobody has to be asked for it, but for links. */
function leadsInto(kernel: Kernel, path: string, { mountIds, until }: Inside): boolean {
  if (until === null || mountIds.size === 0) return false;
  try {
    const fd = openAtOnce(kernel, path, O_PATH);
    return mountIds.has(withFd(kernel, fd, () => mountIdOf(kernel, fd)));
  } catch (error) {
    if (isErrno(error, Errno.EAGAIN)) {
      const id = followSlowly(kernel, path, Math.min(answerMs, until.leftMs));
      return id !== null && mountIds.has(id);
    }
    if (error instanceof SystemError) return false;
    throw error;
  }
}

/** The overlays of our own mount namespace that have a layer inside, as far as a person reads. */
export function overlaysOn(kernel: Kernel, inside: Inside): readonly string[] {
  const found: string[] = [];
  for (const line of mountLines(kernel)) {
    if (line.type !== "overlay") continue;
    const layer = layerInside(kernel, line.mount, inside);
    if (layer !== null) found.push(`the overlay at ${line.path} has a layer in it (${layer})`);
    if (found.length === mostTold) break;
  }
  return found;
}

const mostTold = 64;

/**
 * The overlays of our own mount namespace of which a layer was named from a folder that nobody knows any more, as
 * containerd does where the list of layers is long: any of them may lie inside.
 */
export function overlaysInDoubt(kernel: Kernel): readonly string[] {
  const found: string[] = [];
  for (const line of mountLines(kernel)) {
    if (line.type !== "overlay") continue;
    const layer = layersOf(line.mount).find((path) => !path.startsWith("/"));
    if (layer !== undefined) found.push(`${line.path} (its layer ${layer})`);
    if (found.length === mostTold) break;
  }
  return found;
}
