import { Deadline } from "../linux/deadline.ts";
import { statOrNull } from "../linux/files.ts";
import { AT_STATX_DONT_SYNC, type Kernel } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";
import { lookElsewhere, seenText } from "./elsewhere.ts";
import { VolumeError } from "./error.ts";
import { holdersText, loopsIn, processesIn, some, swapsIn } from "./holders.ts";
import { type Living, lineOf, lookMs } from "./keepers.ts";
import type { Mounted } from "./mounted.ts";
import { overlaysOn } from "./overlay.ts";
import { lookSlowly } from "./slow-look.ts";

/** A filesystem that is to be unmounted, all of it or nothing. */
export interface Subject extends Living {
  /** What to call its disk in a message. */
  readonly path: string;
  readonly mounted: Mounted;
  /** Those of its mounts that are where they belong. */
  readonly mounts: readonly Mount[];
}

export const stopHint = "stop what uses it, then run the command again";

export const stillInUse = (path: string, why: string, hint: string): VolumeError =>
  new VolumeError("busy", `${path} is still in use: ${why}`, { hint });

/**
 * Throws when a part of the volume is mounted elsewhere and would stay when our mounts go, or would be in their
 * way. A mount that is only in use is left to the kernel, which refuses to unmount it.
 */
export function assertNothingInTheWay(kernel: Kernel, subject: Subject): void {
  const { path, mounted, mounts, inside } = subject;
  assertNoOtherMounts(path, mounted);
  const hidden = mounts.find((mount) => isHidden(kernel, mount, mounts));
  if (hidden !== undefined) {
    throw stillInUse(
      path,
      `something else is mounted over ${hidden.path}, or over a folder above it`,
      "unmount that first (findmnt); if the volume was mounted on it once more: umount --recursive",
    );
  }
  if (mounted.nested.length > 0) {
    const nested = mounted.nested.map((mount) => `${mount.path} (${mount.type})`);
    throw stillInUse(path, `mounted inside it: ${some(nested, ", ")}`, stopHint);
  }
  const until = new Deadline(kernel, lookMs);
  const wanted = { isOurs: lineOf(kernel, subject), inside, going: mounted.own };
  const elsewhere = lookElsewhere(kernel, wanted, until);
  const found = [
    ...overlaysOn(kernel, inside),
    ...[...elsewhere.overlays, ...elsewhere.parts].map(seenText),
  ];
  if (found.length > 0) throw stillInUse(path, some(found, "; "), stopHint);
  // A copy of our mounts may stay behind, and that is told then; who works in one uses the volume now.
  const copies = new Set(elsewhere.copies.map(({ mount }) => mount.id));
  const holders = copies.size === 0 ? [] : processesIn(kernel, copies, until);
  if (holders.length > 0) throw stillInUse(path, holdersText(holders), stopHint);
}

function assertNoOtherMounts(path: string, { others }: Mounted): void {
  if (others.length === 0) return;
  const places = some(
    others.map((mount) => mount.path),
    ", ",
  );
  throw stillInUse(
    path,
    `it is also mounted at ${places}`,
    `unmount it there first: ${places}; if up was given a --layout, give the same here`,
  );
}

/** Its path leads to another mount, and not because others of ours are stacked on it: something is over it, or over a folder above. */
function isHidden(kernel: Kernel, mount: Mount, mounts: readonly Mount[]): boolean {
  let reached = statOrNull(kernel, mount.path, AT_STATX_DONT_SYNC)?.mountId;
  while (reached !== mount.id) {
    const top = mounts.find(({ id, path }) => id === reached && path === mount.path);
    if (top === undefined) return true;
    reached = top.parentId;
  }
  return false;
}

/** Who has mounts of ours in use; `busy` is the one that the kernel named. They are all there. */
export function whoHas(kernel: Kernel, { mounts, mounted }: Subject, busy: Mount): string {
  const ids = new Set([...mounts, ...mounted.copies].map(({ id }) => id));
  const holders = [
    ...processesIn(kernel, ids, new Deadline(kernel, lookMs)),
    ...loopsIn(kernel, mounts),
    ...swapsIn(kernel, mounts),
  ];
  if (holders.length > 0) return holdersText(holders);
  const sought = { kind: "maps", mountIds: ids } as const;
  const mappers = lookSlowly(kernel, sought, new Deadline(kernel, lookMs));
  return mappers.length > 0 ? holdersText(mappers) : `${busy.path} is busy`;
}
