import { Errno, SystemError } from "../../../src/linux/errno.ts";
import {
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../../../src/linux/kernel.ts";
import { procEntry } from "./proc.ts";
import { sysEntry } from "./sys.ts";
import type { Entry } from "./tree.ts";
import type { Mount, World } from "./world.ts";

/** A name in a mounted filesystem, whether there is something or not. */
export interface Place {
  readonly mount: Mount;
  /** In the filesystem of the mount. */
  readonly path: string;
}

export interface Walk {
  readonly call: string;
  /** Where a relative path starts, and where `RESOLVE_BENEATH` must stay. */
  readonly from?: Place;
  readonly followLast: boolean;
  readonly resolve?: number;
  /** Where the process' descriptors are, for /proc/self/fd. */
  readonly placeOfFd: (fd: number) => Place | null;
}

const linkLimit = 40;

export function entryAt(world: World, { mount, path }: Place): Entry | undefined {
  if (mount.filesystem === "proc") return procEntry(world, path);
  if (mount.filesystem === "sys") return sysEntry(world, path);
  return world.treeOf(mount.filesystem).get(path);
}

/** The path of a place as the mount table and /proc/self/fd show it. */
export function pathText({ mount, path }: Place): string {
  const inside = path.slice(mount.root.length);
  return `${mount.point === "/" ? "" : mount.point}${inside}` || "/";
}

/** The uppermost mount on this place. */
function crossed(world: World, place: Place): Place {
  const found = world.mounts.findLast(
    ({ parentId, at }) => parentId === place.mount.id && at === place.path,
  );
  return found === undefined ? place : crossed(world, { mount: found, path: found.root });
}

export function topOf(world: World): Place {
  const mount = world.mounts.find(({ id }) => id === 1);
  if (mount === undefined) throw new Error("a world without a root");
  return { mount, path: mount.root };
}

/** Where a path leads; its last name need not exist. Throws as path_resolution(7) says. */
export function walk(world: World, path: string, how: Walk): Place {
  const { call, resolve = 0 } = how;
  const fail = (errno: number): never => {
    throw new SystemError(call, errno, path);
  };
  if (path === "") fail(Errno.ENOENT);
  if (path.startsWith("/") && (resolve & RESOLVE_BENEATH) !== 0) fail(Errno.EXDEV);
  const start = how.from ?? topOf(world);
  let place = path.startsWith("/") ? crossed(world, topOf(world)) : start;
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  let links = 0;
  while (names.length > 0) {
    const name = names.shift() ?? "";
    if (entryAt(world, place)?.kind !== "directory") fail(Errno.ENOTDIR);
    const next = { mount: place.mount, path: `${place.path}/${name}` };
    const fd = place.mount.filesystem === "proc" ? /^\/self\/fd\/(\d+)$/.exec(next.path) : null;
    if (fd !== null && (names.length > 0 || how.followLast)) {
      if ((resolve & RESOLVE_NO_SYMLINKS) !== 0) fail(Errno.ELOOP);
      place = how.placeOfFd(Number(fd[1])) ?? fail(Errno.ENOENT);
      continue;
    }
    const entry = entryAt(world, next);
    if (entry === undefined && names.length > 0) fail(Errno.ENOENT);
    if (entry?.kind === "symlink" && (names.length > 0 || how.followLast)) {
      links += 1;
      if ((resolve & RESOLVE_NO_SYMLINKS) !== 0 || links > linkLimit) fail(Errno.ELOOP);
      names.unshift(...entry.target.split("/").filter(Boolean));
      if (entry.target.startsWith("/")) place = crossed(world, topOf(world));
      continue;
    }
    const inside = crossed(world, next);
    if (inside !== next && (resolve & RESOLVE_NO_XDEV) !== 0) fail(Errno.EXDEV);
    place = inside;
  }
  return place;
}
