import {
  getInodeFlags,
  noCopyOnWrite,
  type SubvolumeInfo,
  subvolumeInfo,
} from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { openDirectoryBeneath, withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Context } from "./context.ts";
import type { LayoutEntry } from "./layout.ts";
import type { SubvolumeReport } from "./status-report.ts";
import { openInVolume, receivedHint } from "./subvolumes.ts";
import type { Root, Target } from "./targets.ts";

/** The subvolumes of the layout, and what their reports have no room for. */
export interface SubvolumeFacts {
  readonly reports: readonly SubvolumeReport[];
  /** Those in which nothing can be saved, and what to do about each. */
  readonly readOnly: readonly { readonly name: string; readonly hint: string }[];
  /** Something inside them is for root alone. */
  readonly isHidden: boolean;
}

/** Where subvolumes can be looked at. */
export interface View {
  /** The open top of the filesystem; null when it is not mounted, or for root alone. */
  readonly top: number | null;
  readonly root: Root | null;
  /** Where the whole filesystem belongs. */
  readonly rawPath: string;
}

/** Every subvolume of the layout as it is. */
export function lookAtSubvolumes(
  context: Context,
  view: View,
  targets: readonly Target[],
  mounted: readonly Target[],
): SubvolumeFacts {
  const { kernel, layout, note } = context;
  const readOnly: { readonly name: string; readonly hint: string }[] = [];
  let isHidden = false;
  const hidden = (): void => {
    isHidden = true;
  };
  const reports = layout.entries.map((entry, i) => {
    const target = targets[i];
    const isMounted = target !== undefined && mounted.includes(target);
    const open = openerOf(context, view, entry, isMounted ? target : null);
    const facts = open === null ? null : seen(() => factsOf(kernel, open("")), hidden);
    if (facts?.readOnly === true) {
      note(`the subvolume ${entry.subvolume} is read-only: nothing can be saved in it`);
      readOnly.push({ name: entry.subvolume, hint: hintOf(view, target, facts) });
    }
    return {
      name: entry.subvolume,
      id: facts === null ? null : Number(facts.id),
      path: target?.path ?? entry.path,
      mounted: isMounted,
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
  mounted: Target | null,
): Opener | null {
  if (top !== null) return (path) => openInVolume(kernel, top, `${subvolume}${path}`);
  if (root === null || mounted === null) return null;
  return (path) => {
    const directory = openDirectoryBeneath(kernel, root.fd, mounted.relativePath);
    return withFd(kernel, directory, () => openInVolume(kernel, directory, `.${path}`));
  };
}

const factsOf = (kernel: Kernel, fd: number): SubvolumeInfo =>
  withFd(kernel, fd, () => subvolumeInfo(kernel, fd));

/** What helps a read-only subvolume. */
const hintOf = (
  { rawPath }: View,
  target: Target | undefined,
  { receivedUuid }: SubvolumeInfo,
): string =>
  receivedUuid === null || target === undefined
    ? "volume up makes it writable"
    : receivedHint(target.subvolume, { rawPath, mountPath: target.path });

const isNocow = (kernel: Kernel, fd: number): boolean =>
  withFd(kernel, fd, () => (getInodeFlags(kernel, fd) & noCopyOnWrite) !== 0);
