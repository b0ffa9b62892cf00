import { compressionFlags, getInodeFlags, noCopyOnWrite, setInodeFlags } from "../btrfs/ioctls.ts";
import { Errno, errnoName, isErrno, SystemError } from "../linux/errno.ts";
import { pathOf, statFd, withFd } from "../linux/files.ts";
import {
  isRegularFile,
  type Kernel,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
} from "../linux/kernel.ts";
import { type Layout, type LayoutEntry, strayDirectories } from "./layout.ts";
import { countOld, oldText, takeOffBelow } from "./old-nocow.ts";
import type { StepResult } from "./report.ts";
import { shellWord } from "./shell-word.ts";
import { insideVolume, openFileInVolume, openInVolume } from "./subvolumes.ts";

/** `plain`: a directory that must not have the flag. */
export type NocowKind = "directory" | "file" | "plain";

/**
 * `full`: a file that holds something keeps copy-on-write, because the flag does nothing there. `compressed`: somebody
 * has said of it whether it is to be compressed, and the kernel takes one flag or the other.
 */
export type NocowAction = "kept" | "create" | "set" | "clear" | "full" | "compressed" | "absent";

/** A name of the layout below the top of the filesystem. */
interface NocowPath {
  readonly path: string;
  readonly kind: NocowKind;
  /** It would inherit the flag, so it is made beforehand. */
  readonly isInherited: boolean;
}

/** A file or directory whose flag the layout wants on or off, and what must be done about it. */
export interface NocowPlace extends NocowPath {
  readonly action: NocowAction;
}

/** What was found at a path. */
export interface NocowState {
  /** FS_*_FL */
  readonly flags: number;
  /** Whether a file without the flag can still be given it. */
  readonly isEmpty: boolean;
}

const isFlagged = (flags: number): boolean => (flags & noCopyOnWrite) !== 0;
const isCompressed = (flags: number): boolean => (flags & compressionFlags) !== 0;

/** `found` is null when there is nothing. */
export function decideNocow(
  { kind, isInherited }: Pick<NocowPath, "kind" | "isInherited">,
  found: NocowState | null,
): NocowAction {
  if (kind === "plain") {
    if (found === null) return isInherited ? "create" : "absent";
    return isFlagged(found.flags) ? "clear" : "kept";
  }
  if (found === null) return "create";
  if (isFlagged(found.flags)) return "kept";
  if (kind === "file" && !found.isEmpty) return "full";
  return isCompressed(found.flags) ? "compressed" : "set";
}

/** Only root may look into a database, or into layers. */
const directoryMode = 0o700;
const fileMode = 0o600;

/** All that the layout names in a subvolume. What takes a flag off an outer directory comes first. */
function pathsOf(entry: LayoutEntry): readonly NocowPath[] {
  const { subvolume, noCopyOnWrite: directories, noCopyOnWriteFiles: files, copyOnWrite } = entry;
  const paths: NocowPath[] = [];
  const add = (kind: NocowKind, names: readonly string[], isInherited: boolean): void => {
    for (const name of names) paths.push({ path: `${subvolume}/${name}`, kind, isInherited });
  };
  const isInherited = (path: string): boolean =>
    directories.some((directory) => path.startsWith(`${directory}/`));
  add(
    "plain",
    copyOnWrite.filter((path) => !isInherited(path)),
    false,
  );
  add("directory", directories, false);
  add("plain", copyOnWrite.filter(isInherited), true);
  add("file", files, false);
  return paths;
}

/**
 * Looks at every place of the layout. What cannot be looked at is reported through `note`. The strays of
 * the agent in Rust are looked at only when there is something to do: on each boot that would be for nothing.
 */
export function lookAtNocow(
  kernel: Kernel,
  top: number,
  { entries }: Layout,
  note: (text: string) => void,
): readonly NocowPlace[] {
  const look = (paths: readonly NocowPath[], say: (text: string) => void): NocowPlace[] =>
    paths.flatMap((place) => {
      try {
        const action = decideNocow(place, stateOf(kernel, top, place));
        return [{ ...place, action }];
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        say(`${place.path} could not be looked at${consequence(place)}: ${errnoName(error.errno)}`);
        return [];
      }
    });
  const places = look(entries.flatMap(pathsOf), note);
  const those = (which: NocowAction): string[] =>
    places.filter(({ action }) => action === which).map(({ path }) => path);
  const full = those("full");
  if (full.length > 0) note(fullText(full));
  const compressed = those("compressed");
  if (compressed.length > 0) {
    const topPath = pathOf(kernel, top);
    const paths = compressed.map((path) => `${topPath}/${path}`);
    note(`${compressedText(compressed)}; ${compressedHint(paths)}`);
  }
  if (!places.some(isDue)) return places;
  const strays = entries.flatMap((entry) =>
    pathsOf({
      ...entry,
      noCopyOnWrite: [],
      noCopyOnWriteFiles: [],
      copyOnWrite: strayDirectories(entry),
    }),
  );
  return [...look(strays, () => undefined), ...places];
}

/** What holds something keeps copy-on-write: what can be done, and only while its daemon is stopped. */
export const fullText = (paths: readonly string[]): string =>
  `not empty, and so still copy-on-write: ${paths.join(", ")}; to change that, stop the daemon, copy ` +
  "the file into a new one that has chattr +C, and give that its name";

export const compressedText = (names: readonly string[]): string =>
  `not NOCOW, because compression was chosen for it, and Btrfs takes only one of the two: ${names.join(", ")}`;

/** What takes that choice back; `paths` are absolute. */
export const compressedHint = (paths: readonly string[]): string =>
  `to change that: chattr -cm ${paths.map(shellWord).join(" ")}, then volume up`;

const consequence = ({ kind }: NocowPath): string =>
  kind === "plain" ? " and may be NOCOW" : " and keeps copy-on-write";

/** null when there is nothing at the path. */
function stateOf(
  kernel: Kernel,
  top: number,
  { path, kind }: Pick<NocowPath, "path" | "kind">,
): NocowState | null {
  let fd: number;
  try {
    fd = (kind === "file" ? openFileInVolume : openInVolume)(kernel, top, path);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT)) return null;
    throw error;
  }
  return nocowState(kernel, fd, kind, path);
}

/** The same of what is open; closes it. */
export const nocowState = (kernel: Kernel, fd: number, kind: NocowKind, path: string): NocowState =>
  withFd(kernel, fd, () => {
    const flags = getInodeFlags(kernel, fd);
    if (kind !== "file" || isFlagged(flags)) return { flags, isEmpty: false };
    const status = statFd(kernel, fd);
    if (!isRegularFile(status)) throw new SystemError("openat2", Errno.EISDIR, path);
    return { flags, isEmpty: status.sizeBytes === 0 };
  });

/** Opens the directory, making it and its parents where they are missing; `changed` after each. */
function openOrMake(kernel: Kernel, top: number, path: string, changed: () => void): number {
  try {
    return openInVolume(kernel, top, path);
  } catch (error) {
    const [above, name] = splitName(path);
    // The subvolume itself has gone: a plain directory must not stand in for it.
    if (!isErrno(error, Errno.ENOENT) || above === "") throw error;
    const parent = openOrMake(kernel, top, above, changed);
    withFd(kernel, parent, () => {
      kernel.mkdirat(parent, name, directoryMode);
    });
    changed();
    return openInVolume(kernel, top, path);
  }
}

function splitName(path: string): readonly [above: string, name: string] {
  const slash = path.lastIndexOf("/");
  return [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
}

/** Opens the file, made empty where it is missing. */
function openOrMakeFile(kernel: Kernel, top: number, path: string, changed: () => void): number {
  try {
    return openFileInVolume(kernel, top, path);
  } catch (error) {
    if (!isErrno(error, Errno.ENOENT)) throw error;
  }
  const [above, name] = splitName(path);
  const parent = openOrMake(kernel, top, above, changed);
  return withFd(kernel, parent, () => {
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const fd = kernel.openBeneath(parent, name, flags, insideVolume, fileMode);
    changed();
    return fd;
  });
}

/** Gives an open file or directory the flag, or takes it off, and reads it back; `changed` when that did it. */
function changeFlag(
  kernel: Kernel,
  fd: number,
  path: string,
  isWanted: boolean,
  changed: () => void,
): void {
  const flags = getInodeFlags(kernel, fd);
  if (isFlagged(flags) === isWanted) return;
  setInodeFlags(kernel, fd, isWanted ? flags | noCopyOnWrite : flags & ~noCopyOnWrite);
  // Unless it is seen that it did nothing, it did something.
  let isDone = true;
  try {
    isDone = isFlagged(getInodeFlags(kernel, fd)) === isWanted;
  } finally {
    if (isDone) changed();
  }
  if (!isDone) throw new SystemError("FS_IOC_SETFLAGS", Errno.EOPNOTSUPP, path);
}

interface Work {
  readonly kernel: Kernel;
  readonly top: number;
  readonly note: (text: string) => void;
  /** Called after each change, also when a SystemError follows. */
  readonly changed: () => void;
  /** True of what is NOCOW on purpose. */
  readonly isWanted: (path: string) => boolean;
  /** True of all that the layout names. */
  readonly isNamed: (path: string) => boolean;
}

/** What was just made is as compressed as what it was made in, and cannot be NOCOW beside that. */
function dropInherited(kernel: Kernel, fd: number): void {
  const flags = getInodeFlags(kernel, fd);
  if (isCompressed(flags)) setInodeFlags(kernel, fd, flags & ~compressionFlags);
}

/** True of a directory that holds more than what the layout names in it. */
function holdsOthers(kernel: Kernel, fd: number, isNamed: (name: string) => boolean): boolean {
  const enough = 16;
  return kernel.readDirectory(fd, enough).some((name) => !isNamed(name));
}

function apply({ kernel, top, note, changed, isWanted, isNamed }: Work, place: NocowPlace): void {
  const { path, kind, action } = place;
  if (action === "clear") takeOffBelow(kernel, top, path, isWanted, changed);
  const open = kind === "file" ? openOrMakeFile : openOrMake;
  const fd = open(kernel, top, path, changed);
  withFd(kernel, fd, () => {
    const isGiven = action === "set" && kind === "directory";
    const holdsFiles = isGiven && holdsOthers(kernel, fd, (name) => isNamed(`${path}/${name}`));
    if (action === "create" && kind !== "plain") dropInherited(kernel, fd);
    changeFlag(kernel, fd, path, kind !== "plain", changed);
    if (holdsFiles) {
      note(
        `${path} was not empty: the files in it keep copy-on-write, new ones are overwritten in place`,
      );
    }
  });
}

const isDue = ({ action }: NocowPlace): boolean =>
  action === "create" || action === "set" || action === "clear";

/** Something is to be written. */
export const hasNocowDue = (places: readonly NocowPlace[]): boolean => places.some(isDue);

const isDatabase = ({ kind }: NocowPath): boolean => kind !== "plain";

/** Whether a path from the top of the filesystem is one that the layout wants NOCOW. */
export function isDatabaseOf({ entries }: Layout): (path: string) => boolean {
  const paths = entries.flatMap(pathsOf).filter(isDatabase);
  const wanted = new Set(paths.map(({ path }) => path));
  return (path) => wanted.has(path);
}

/** The step as the report words it; `done` of the places were changed by this run. */
function result(
  layout: Layout,
  places: readonly NocowPlace[],
  done: readonly NocowPlace[],
): StepResult {
  const databases = (some: readonly NocowPlace[]): number => some.filter(isDatabase).length;
  let wanted = 0;
  for (const { noCopyOnWrite: directories, noCopyOnWriteFiles: files } of layout.entries) {
    wanted += directories.length + files.length;
  }
  const flagged = places.filter(({ action }) => action === "kept").filter(isDatabase).length;
  const now = databases(done);
  const cleared = done.filter(({ action }) => action === "clear").length;
  const detail = [
    `${flagged + now} of ${wanted} databases NOCOW`,
    ...(now > 0 ? [`${now} of them now`] : []),
    ...(cleared > 0 ? [`the flag taken off ${cleared} directories of something else`] : []),
  ];
  return { outcome: done.length > 0 ? "changed" : "kept", detail: detail.join(", ") };
}

/** What `applyNocow` would do; `null` stands for a filesystem that is still to be made. */
export function planNocow(places: readonly NocowPlace[] | null, layout: Layout): StepResult {
  const all =
    places ??
    layout.entries
      .flatMap(pathsOf)
      .map((place): NocowPlace => ({ ...place, action: decideNocow(place, null) }));
  return result(layout, all, all.filter(isDue));
}

/**
 * Makes what is missing and puts the flags right. A failure is a note: a full volume must come up, or
 * nobody could free space on it.
 */
export function applyNocow(
  kernel: Kernel,
  top: number,
  places: readonly NocowPlace[],
  layout: Layout,
  note: (text: string) => void,
): StepResult {
  const due = places.filter(isDue);
  if (due.length === 0) return result(layout, places, []);
  const isWanted = isDatabaseOf(layout);
  const named = new Set(layout.entries.flatMap(pathsOf).map(({ path }) => path));
  let isChanged = false;
  const work: Work = {
    kernel,
    top,
    note,
    changed: () => {
      isChanged = true;
    },
    isWanted,
    isNamed: (path) => named.has(path),
  };
  const done = due.filter((place) => {
    try {
      apply(work, place);
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      note(`${place.path} could not be set up${consequence(place)}: ${errnoName(error.errno)}`);
      return false;
    }
  });
  const cleared = done.filter(({ action }) => action === "clear").map(({ path }) => path);
  const old = countOld(kernel, top, cleared, isWanted);
  if (old.count > 0) note(oldText(old));
  const { outcome, detail } = result(layout, places, done);
  // A directory that was made and could not be flagged is a change too.
  return { outcome: isChanged ? "changed" : outcome, detail };
}
