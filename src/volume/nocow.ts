import { getInodeFlags, noCopyOnWrite, setInodeFlags } from "../btrfs/ioctls.ts";
import { Errno, errnoName, isErrno, SystemError } from "../linux/errno.ts";
import { withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Layout } from "./layout.ts";
import type { StepResult } from "./report.ts";
import { openInVolume } from "./subvolumes.ts";

/** What must be done about one directory. */
export type NocowAction = "kept" | "set" | "create";

/** A directory whose files are to be overwritten in place, below the top of the filesystem. */
export interface NocowDirectory {
  readonly path: string;
  readonly action: NocowAction;
}

/** The flags of the directory as they are; null when it does not exist. */
export const decideNocow = (flags: number | null): NocowAction => {
  if (flags === null) return "create";
  return (flags & noCopyOnWrite) === 0 ? "set" : "kept";
};

/** Only root may look into a database. */
const directoryMode = 0o700;

/** Looks at every directory of the layout. What cannot be looked at is reported through `note`. */
export function lookAtNocow(
  kernel: Kernel,
  top: number,
  layout: Layout,
  note: (text: string) => void,
): readonly NocowDirectory[] {
  const directories: NocowDirectory[] = [];
  for (const { subvolume, noCopyOnWrite: inside } of layout.entries) {
    for (const directory of inside) {
      const path = `${subvolume}/${directory}`;
      try {
        const action = decideNocow(flagsOf(kernel, top, path));
        directories.push({ path, action });
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        note(`${path} could not be looked at and keeps copy-on-write: ${errnoName(error.errno)}`);
      }
    }
  }
  return directories;
}

function flagsOf(kernel: Kernel, top: number, path: string): number | null {
  try {
    const fd = openInVolume(kernel, top, path);
    return withFd(kernel, fd, () => getInodeFlags(kernel, fd));
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) return null;
    throw error;
  }
}

/** Opens the directory, making it and its parents where they are missing; `changed` after each. */
function openOrMake(kernel: Kernel, top: number, path: string, changed: () => void): number {
  let at = "";
  for (const name of path.split("/")) {
    at = at === "" ? name : `${at}/${name}`;
    try {
      kernel.close(openInVolume(kernel, top, at));
    } catch (error) {
      const slash = at.lastIndexOf("/");
      // The subvolume itself has gone: a plain directory must not stand in for it.
      if (!isErrno(error, Errno.ENOENT) || slash < 0) throw error;
      const parent = openInVolume(kernel, top, at.slice(0, slash));
      withFd(kernel, parent, () => kernel.mkdirat(parent, name, directoryMode));
      changed();
    }
  }
  return openInVolume(kernel, top, path);
}

/** Sets the flag and reads it back; says `changed` also when it then throws a SystemError. */
function apply(
  kernel: Kernel,
  top: number,
  path: string,
  note: (text: string) => void,
  changed: () => void,
): void {
  const fd = openOrMake(kernel, top, path, changed);
  withFd(kernel, fd, () => {
    const holdsFiles = kernel.readDirectory(fd, 1).length > 0;
    const flags = getInodeFlags(kernel, fd);
    const isDue = (flags & noCopyOnWrite) === 0;
    if (isDue) setInodeFlags(kernel, fd, flags | noCopyOnWrite);
    // Unless it is seen that it did nothing, it did something.
    let isSet = true;
    try {
      isSet = (getInodeFlags(kernel, fd) & noCopyOnWrite) !== 0;
    } finally {
      if (isDue && isSet) changed();
    }
    if (!isSet) {
      throw new SystemError("FS_IOC_SETFLAGS", Errno.EOPNOTSUPP, path);
    }
    if (holdsFiles) {
      note(
        `${path} was not empty: the files in it keep copy-on-write, new ones are overwritten in place`,
      );
    }
  });
}

function directoryCount({ entries }: Layout): number {
  let count = 0;
  for (const { noCopyOnWrite: inside } of entries) count += inside.length;
  return count;
}

/** `changed` of the `flagged` directories were made or flagged by this run. */
function result(flagged: number, changed: number, layout: Layout): StepResult {
  const detail = `${flagged} of ${directoryCount(layout)} directories flagged`;
  return changed > 0
    ? { outcome: "changed", detail: `${detail}, ${changed} of them now` }
    : { outcome: "kept", detail };
}

const dueCount = (directories: readonly NocowDirectory[]): number =>
  directories.filter(({ action }) => action !== "kept").length;

/** What `applyNocow` would do; `null` stands for a filesystem that is still to be made. */
export const planNocow = (
  directories: readonly NocowDirectory[] | null,
  layout: Layout,
): StepResult =>
  directories === null
    ? result(directoryCount(layout), directoryCount(layout), layout)
    : result(directories.length, dueCount(directories), layout);

/**
 * Makes and flags what is missing. A failure is a note: a full volume must come up, or
 * nobody could free space on it.
 */
export function applyNocow(
  kernel: Kernel,
  top: number,
  directories: readonly NocowDirectory[],
  layout: Layout,
  note: (text: string) => void,
): StepResult {
  let done = 0;
  let failed = 0;
  let isChanged = false;
  for (const { path, action } of directories) {
    if (action === "kept") continue;
    try {
      apply(kernel, top, path, note, () => {
        isChanged = true;
      });
      done++;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      failed++;
      note(`${path} could not be set up and keeps copy-on-write: ${errnoName(error.errno)}`);
    }
  }
  const { outcome, detail } = result(directories.length - failed, done, layout);
  // A directory that was made and could not be flagged is a change too.
  return { outcome: isChanged ? "changed" : outcome, detail };
}
