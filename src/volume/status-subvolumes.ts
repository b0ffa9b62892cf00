import { noCopyOnWrite, type SubvolumeInfo, subvolumeInfo } from "../btrfs/ioctls.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { openDirectoryBeneath, withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Context } from "./context.ts";
import type { Layout, LayoutEntry } from "./layout.ts";
import {
  decideNocow,
  fullText,
  isDatabaseOf,
  type NocowKind,
  type NocowState,
  nocowState,
} from "./nocow.ts";
import { countOld, oldText } from "./old-nocow.ts";
import type { SubvolumeReport } from "./status-report.ts";
import { openFileInVolume, openInVolume, receivedHint } from "./subvolumes.ts";
import type { Root, Target } from "./targets.ts";

/** The subvolumes of the layout, and what their reports have no room for. */
export interface SubvolumeFacts {
  readonly reports: readonly SubvolumeReport[];
  /** Those in which nothing can be saved, and what to do about each. */
  readonly readOnly: readonly { readonly name: string; readonly hint: string }[];
  /** Directories of layers, blobs or nothing that are NOCOW. */
  readonly wronglyNocow: readonly string[];
  /** Files that should be NOCOW and hold something: they keep copy-on-write. */
  readonly full: readonly string[];
  /** What should be NOCOW and cannot be, because compression was chosen for it. */
  readonly compressed: readonly Compressed[];
  /** Something inside them is for root alone. */
  readonly isHidden: boolean;
}

export interface Compressed {
  /** From the top of the filesystem. */
  readonly name: string;
  /** Where it can be reached. */
  readonly path: string;
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
  const wronglyNocow: string[] = [];
  const full: string[] = [];
  const compressed: Compressed[] = [];
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
    const look = (path: string, kind: NocowKind) =>
      open === null ? null : seen(() => stateIn(kernel, path, kind, open), hidden);
    for (const path of entry.copyOnWrite) {
      if (isNocow(look(path, "plain"))) wronglyNocow.push(`${entry.subvolume}/${path}`);
    }
    const row = (path: string, kind: NocowKind) => {
      const state = look(path, kind);
      const name = `${entry.subvolume}/${path}`;
      const action = state === null ? null : decideNocow({ kind, isInherited: false }, state);
      if (action === "full") full.push(name);
      if (action === "compressed") {
        const isAtTop = view.top !== null || target === undefined;
        const at = isAtTop ? `${view.rawPath}/${name}` : `${target.path}/${path}`;
        compressed.push({ name, path: at });
      }
      return { directory: path, set: state === null ? null : isNocow(state) };
    };
    return {
      name: entry.subvolume,
      id: facts === null ? null : Number(facts.id),
      path: target?.path ?? entry.path,
      mounted: isMounted,
      nocow: [
        ...entry.noCopyOnWrite.map((path) => row(path, "directory")),
        ...entry.noCopyOnWriteFiles.map((path) => row(path, "file")),
      ],
    };
  });
  if (isHidden) note("only root can see the NOCOW state of the directories");
  if (view.top !== null) noteOld(kernel, view.top, layout, note);
  if (full.length > 0) note(fullText(full));
  return { reports, readOnly, wronglyNocow, full, compressed, isHidden };
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
type Opener = (path: string, openAt?: typeof openInVolume) => number;

function openerOf(
  { kernel }: Context,
  { top, root }: View,
  { subvolume }: LayoutEntry,
  mounted: Target | null,
): Opener | null {
  if (top !== null) {
    return (path, openAt = openInVolume) => openAt(kernel, top, `${subvolume}${path}`);
  }
  if (root === null || mounted === null) return null;
  return (path, openAt = openInVolume) => {
    const directory = openDirectoryBeneath(kernel, root.fd, mounted.relativePath);
    return withFd(kernel, directory, () => openAt(kernel, directory, `.${path}`));
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

function stateIn(kernel: Kernel, path: string, kind: NocowKind, open: Opener): NocowState {
  const fd = open(`/${path}`, kind === "file" ? openFileInVolume : openInVolume);
  return nocowState(kernel, fd, kind, path);
}

const isNocow = (state: NocowState | null): boolean =>
  state !== null && (state.flags & noCopyOnWrite) !== 0;

/** What an earlier version left in directories that should not have been NOCOW. */
function noteOld(kernel: Kernel, top: number, layout: Layout, note: Context["note"]): void {
  const directories = layout.entries.flatMap(({ subvolume, copyOnWrite }) =>
    copyOnWrite.map((name) => `${subvolume}/${name}`),
  );
  const old = countOld(kernel, top, directories, isDatabaseOf(layout));
  if (old.count > 0) note(oldText(old));
}
