import { isMounted } from "../btrfs/mounted.ts";
import { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno, reasonOf } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { type Subject, stillInUse, stopHint, whoHas } from "./in-the-way.ts";
import { type Keepers, type Living, keepersOf } from "./keepers.ts";
import { MountJournal, mountFlags } from "./mount-journal.ts";
import { inOrderOfGoing } from "./mounted.ts";
import type { Root, Target } from "./targets.ts";
import { unmountEach } from "./unmounting.ts";

/** What a mount is made from again. */
export interface Origin {
  readonly root: Root;
  readonly targets: readonly Target[];
  /** The path of the disk. */
  readonly device: string;
  /** The filesystem-wide options of the layout, in case the last mount had gone. */
  readonly options: string;
}

/**
 * Unmounts all of it, or nothing: where one mount will not go, or the filesystem outlives them all, those that
 * went are mounted again, so that no daemon writes to the directories below.
 */
export function takeAway(kernel: Kernel, subject: Subject, origin: Origin): void {
  const gone: Mount[] = [];
  try {
    unmountEach(kernel, origin.root, subject.mounted.own, gone);
  } catch (error) {
    const [busy] = inOrderOfGoing(subject.mounted.own).slice(gone.length);
    const isBusy = busy !== undefined && isErrno(error, Errno.EBUSY);
    const after = putBack(kernel, origin, gone);
    if (isBusy) {
      throw stillInUse(subject.path, `${whoHas(kernel, subject, busy)}${after}`, stopHint);
    }
    throw withMore(error, after);
  }
  const keepers = whoOutlives(kernel, subject);
  if (keepers === null) return;
  // A copy of our mounts lives on for whoever has it. It is no use to go on here, and cannot be helped from here.
  const after =
    keepers.kind === "elsewhere" ? "; the mounts here are gone" : putBack(kernel, origin, gone);
  throw outlived(subject.path, keepers, after);
}

/** Throws when the kernel goes on having a filesystem mounted of which nothing is where it belongs. */
export function assertGone(kernel: Kernel, living: Living & { readonly path: string }): void {
  const keepers = whoOutlives(kernel, living);
  if (keepers !== null) throw outlived(living.path, keepers, "");
}

const thawHint =
  "if it is frozen (fsfreeze), bring it up, thaw it, and run the command again; else stop what uses it";

const outlived = (path: string, { kind, text }: Keepers, after: string): VolumeError =>
  stillInUse(path, `${text}${after}`, kind === "unseen" ? thawHint : stopHint);

/** The last reference may go a moment after the last unmount, when another process drops it. */
const settleMs = 500;
const settleStepMs = 10;

/** umount(2) says 0 also when something keeps the filesystem alive; null when it is gone. */
function whoOutlives(kernel: Kernel, living: Living): Keepers | null {
  const until = new Deadline(kernel, settleMs);
  while (isMounted(kernel, living.uuid)) {
    if (until.isOver) return keepersOf(kernel, living);
    kernel.waitReadable([], settleStepMs);
  }
  return null;
}

/** Mounts again what has gone, and says what came of it. */
function putBack(kernel: Kernel, origin: Origin, gone: readonly Mount[]): string {
  if (gone.length === 0) return "";
  const { root, targets, device, options } = origin;
  const journal = new MountJournal(kernel);
  const lost: string[] = [];
  for (const target of targets) {
    const mount = gone.find(({ path }) => path === target.path);
    if (mount === undefined) continue;
    const data = target.subvolume === "" ? `${options},subvolid=5` : `subvol=${target.subvolume}`;
    try {
      journal.mount(root, target, device, data, mountFlags(mount.options));
    } catch (error) {
      lost.push(`${target.path} (${reasonOf(error)})`);
    }
  }
  journal.close();
  return lost.length === 0
    ? "; what had been unmounted by then was mounted again"
    : `; NOT MOUNTED ANY MORE, and cannot be mounted again: ${lost.join(", ")}`;
}

function withMore(error: unknown, more: string): unknown {
  if (more === "" || !(error instanceof Error)) return error;
  const known = error instanceof VolumeError ? error : null;
  const hint = known?.hint ?? stopHint;
  return new VolumeError(known?.code ?? "busy", `${error.message}${more}`, { cause: error, hint });
}
