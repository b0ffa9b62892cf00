import { getInodeFlags, noCopyOnWrite, subvolumeInfo } from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { openDirectoryBeneath, withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Context } from "./context.ts";
import type { LayoutEntry } from "./layout.ts";
import type { SubvolumeReport } from "./status-report.ts";
import { openInVolume } from "./subvolumes.ts";
import type { Root, Target } from "./targets.ts";

/** The subvolumes of the layout, and what their reports have no room for. */
export interface SubvolumeFacts {
  readonly reports: readonly SubvolumeReport[];
  /** Names of those in which nothing can be saved. */
  readonly readOnly: readonly string[];
  /** Something inside them is for root alone. */
  readonly isHidden: boolean;
}

/** Where subvolumes can be looked at. */
export interface View {
  /** The open top of the filesystem; null when it is not mounted, or for root alone. */
  readonly top: number | null;
  readonly root: Root | null;
}

/** Every subvolume of the layout as it is. */
export function lookAtSubvolumes(
  context: Context,
  { top, root }: View,
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
    const open = openerOf(
      context,
      { top, root },
      entry,
      mounted.find((one) => one === target),
    );
    return {
      name: entry.subvolume,
      id: open === null ? null : seen(() => idOf(context, open(""), entry, readOnly), hidden),
      path: target?.path ?? entry.path,
      mounted: target !== undefined && mounted.includes(target),
      nocow: entry.noCopyOnWrite.map((directory) => ({
        directory,
        set: open === null ? null : seen(() => isNocow(kernel, open(`/${directory}`)), hidden),
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

/** Opens what is at a path in the subvolume, "" for itself: from the top, or where it is mounted. */
type Opener = (path: string) => number;

function openerOf(
  { kernel }: Context,
  { top, root }: View,
  { subvolume }: LayoutEntry,
  mounted: Target | undefined,
): Opener | null {
  if (top !== null) return (path) => openInVolume(kernel, top, `${subvolume}${path}`);
  if (root === null || mounted === undefined) return null;
  return (path) => {
    const directory = openDirectoryBeneath(kernel, root.fd, mounted.relativePath);
    return withFd(kernel, directory, () => openInVolume(kernel, directory, `.${path}`));
  };
}

function idOf(
  { kernel, note }: Context,
  fd: number,
  { subvolume }: LayoutEntry,
  readOnlyNames: string[],
): number {
  const { id, readOnly } = withFd(kernel, fd, () => subvolumeInfo(kernel, fd));
  if (readOnly) {
    note(`the subvolume ${subvolume} is read-only: nothing can be saved in it`);
    readOnlyNames.push(subvolume);
  }
  return Number(id);
}

const isNocow = (kernel: Kernel, fd: number): boolean =>
  withFd(kernel, fd, () => (getInodeFlags(kernel, fd) & noCopyOnWrite) !== 0);
