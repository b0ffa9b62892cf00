import type { Mount } from "../linux/mountinfo.ts";

/** A mount and the one it hangs on; undefined where that one cannot be seen. */
export interface Hung {
  readonly mount: Mount;
  readonly parent: Mount | undefined;
}

/** The directory that a mount hides, as a place in the filesystem of its parent, whatever path leads there. */
function placeOf(mount: Mount, parent: Mount): string {
  const below = parent.path === "/" ? mount.path : mount.path.slice(parent.path.length);
  const path = parent.root === "/" ? below : `${parent.root}${below}`;
  return `${parent.device} ${path === "" ? "/" : path}`;
}

/**
 * Whether the kernel takes `copy` away together with `own`: it hangs on the same directory of a mount that
 * takes mounts and unmounts from the parent of `own` (mount_namespaces(7), propagate_umount() in fs/pnode.c). Of a
 * slave of something it is not known of what; that it went has to be seen.
 */
export function goesWith(copy: Hung, own: Hung): boolean {
  const [from, to] = [own.parent, copy.parent];
  if (from === undefined || to === undefined || from.peerGroup === null) return false;
  if (copy.mount.root !== own.mount.root || copy.mount.device !== own.mount.device) return false;
  const isPeer = to.peerGroup === from.peerGroup || to.master !== null;
  return isPeer && placeOf(copy.mount, to) === placeOf(own.mount, from);
}
