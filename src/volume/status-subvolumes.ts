import { getInodeFlags, noCopyOnWrite, subvolumeInfo } from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Context } from "./context.ts";
import type { LayoutEntry } from "./layout.ts";
import type { SubvolumeReport } from "./status-report.ts";
import { openInVolume } from "./subvolumes.ts";
import type { Target } from "./targets.ts";

/** Every subvolume of the layout as it is; `top` is the open top of the filesystem, null when it is not mounted. */
export function subvolumesOf(
  context: Context,
  top: number | null,
  targets: readonly Target[],
  mounted: readonly Target[],
): readonly SubvolumeReport[] {
  const { kernel, layout, note } = context;
  let isHidden = false;
  const hidden = (): void => {
    isHidden = true;
  };
  const reports = layout.entries.map((entry, i) => {
    const target = targets[i];
    return {
      name: entry.subvolume,
      id: top === null ? null : seen(() => idOf(context, top, entry), hidden),
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
  else if (top !== null) noteMissing(reports, note);
  return reports;
}

/** What a daemon makes at such a name is not NOCOW. */
function noteMissing(reports: readonly SubvolumeReport[], note: Context["note"]): void {
  const missing = reports.flatMap(({ name, id, nocow }) =>
    nocow
      .filter(({ set }) => set === null && id !== null)
      .map(({ directory }) => `${name}/${directory}`),
  );
  if (missing.length === 0) return;
  note(
    `no such directory: ${missing.join(", ")}; volume up makes it, if nothing else is in its place`,
  );
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

function idOf({ kernel, note }: Context, top: number, { subvolume }: LayoutEntry): number {
  const fd = openInVolume(kernel, top, subvolume);
  const { id, readOnly } = withFd(kernel, fd, () => subvolumeInfo(kernel, fd));
  if (readOnly) note(`the subvolume ${subvolume} is read-only: nothing can be saved in it`);
  return Number(id);
}

const isNocow = (kernel: Kernel, top: number, path: string): boolean => {
  const fd = openInVolume(kernel, top, path);
  return withFd(kernel, fd, () => (getInodeFlags(kernel, fd) & noCopyOnWrite) !== 0);
};
