import { getInodeFlags, noCopyOnWrite, subvolumeInfo } from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Context } from "./context.ts";
import type { LayoutEntry } from "./layout.ts";
import type { SubvolumeReport } from "./status-report.ts";
import { openInVolume } from "./subvolumes.ts";
import type { Target } from "./targets.ts";

/** The subvolumes of the layout, and what their reports have no room for. */
export interface SubvolumeFacts {
  readonly reports: readonly SubvolumeReport[];
  /** Names of those in which nothing can be saved. */
  readonly readOnly: readonly string[];
  /** Something inside them is for root alone. */
  readonly isHidden: boolean;
}

/** Every subvolume of the layout as it is; `top` is the open top of the filesystem, null when it is not mounted. */
export function lookAtSubvolumes(
  context: Context,
  top: number | null,
  targets: readonly Target[],
  mounted: readonly Target[],
): SubvolumeFacts {
  const { kernel, layout, note } = context;
  const readOnly: string[] = [];
  let isHidden = false;
  const hidden = (): void => {
    isHidden = true;
  };
  const reports = layout.entries.map((entry, i) => {
    const target = targets[i];
    return {
      name: entry.subvolume,
      id: top === null ? null : seen(() => idOf(context, top, entry, readOnly), hidden),
      path: target?.path ?? entry.path,
      mounted: target !== undefined && mounted.includes(target),
      nocow: entry.noCopyOnWrite.map((directory) => ({
        directory,
        set:
          top === null
            ? null
            : seen(() => isNocow(kernel, top, `${entry.subvolume}/${directory}`), hidden),
      })),
    };
  });
  if (isHidden) note("only root can see the NOCOW state of the directories");
  return { reports, readOnly, isHidden };
}

/** A look at something that may not exist (null), or may be for root alone: then it is `hidden`. */
function seen<T>(look: () => T, hidden: () => void): T | null {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (isErrno(error, Errno.EACCES, Errno.EPERM)) hidden();
    return null;
  }
}

function idOf(
  { kernel, note }: Context,
  top: number,
  { subvolume }: LayoutEntry,
  readOnlyNames: string[],
): number {
  const fd = openInVolume(kernel, top, subvolume);
  const { id, readOnly } = withFd(kernel, fd, () => subvolumeInfo(kernel, fd));
  if (readOnly) {
    note(`the subvolume ${subvolume} is read-only: nothing can be saved in it`);
    readOnlyNames.push(subvolume);
  }
  return Number(id);
}

const isNocow = (kernel: Kernel, top: number, path: string): boolean => {
  const fd = openInVolume(kernel, top, path);
  return withFd(kernel, fd, () => (getInodeFlags(kernel, fd) & noCopyOnWrite) !== 0);
};
