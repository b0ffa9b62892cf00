import { mountedUuid } from "../btrfs/mounted.ts";
import { SystemError } from "../linux/errno.ts";
import { statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { mountLines } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { shellWord } from "./shell-word.ts";
import type { Source } from "./source.ts";

/** A file that was deleted while a loop device shows it lives as long as the device is attached, and no longer. */
export interface Deletion {
  readonly what: string;
  /** How to save it. */
  readonly hint: string;
}

export const deletedText = (device: string, file: string): string =>
  `the image ${file} was deleted: ${device} has the only copy of it, which goes when it is detached`;

/**
 * A command that saves a loop device ("loop0"). Mounted, it must not change while it is copied, and is read past
 * the page cache, which may hold what the filesystem has changed since.
 */
export function saveHint(kernel: Kernel, name: string, device: string, file: string): string {
  const copy = shellWord(`${file}.saved`);
  if (mountedUuid(kernel, name) === null) {
    return `save it: cp --sparse=always ${shellWord(device)} ${copy}`;
  }
  const freezes = [mountOf(kernel, device)].filter((path) => path !== null).map(shellWord);
  const freeze = freezes.map((path) => `fsfreeze --freeze ${path} && `).join("");
  const thaw = freezes.map((path) => `; fsfreeze --unfreeze ${path}`).join("");
  return `save it: ${freeze}dd if=${shellWord(device)} of=${copy} bs=1M iflag=direct conv=sparse${thaw}`;
}

/** Where a device is mounted in this mount namespace; null where it is not. */
function mountOf(kernel: Kernel, device: string): string | null {
  const nodeDevice = nodeDeviceOf(kernel, device);
  for (const line of mountLines(kernel)) {
    if (line.type !== "btrfs") continue;
    const { source, path } = line.mount;
    if (nodeDeviceOf(kernel, source) === nodeDevice) return path;
  }
  return null;
}

function nodeDeviceOf(kernel: Kernel, path: string): string | null {
  try {
    return statOrNull(kernel, path)?.nodeDevice ?? null;
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/**
 * For `up` and `plan`: what is written to a deleted image is lost with its loop device. Throws `busy` when the image
 * was named, because a new one would be another volume; when the loop device was named, it is a note.
 */
export function assertNotDeleted(source: Source, note: (text: string) => void): void {
  noteNamesakes(source, note);
  const deletion = source.deletion();
  if (deletion === null) return;
  const { what, hint } = deletion;
  if (source.isImage) throw new VolumeError("busy", what, { hint });
  note(`ATTENTION: ${what}; ${hint}`);
}

/**
 * `down`: who takes the only copy away says so, by `discard`. A disk that was named stays attached, so it is enough
 * to say it where nothing is mounted.
 */
export function assertMayGo(source: Source, discard: boolean, note: (text: string) => void): void {
  noteNamesakes(source, note);
  const deletion = source.deletion();
  if (deletion === null) return;
  const { what, hint } = deletion;
  const goes = source.isImage || source.mountedUuid() !== null;
  if (goes && !discard) {
    throw new VolumeError("busy", what, { hint: `${hint}; then, to let it go: --discard-deleted` });
  }
  if (!source.isImage) note(`${what}; ${hint}`);
}

/** Another file has the name by now: what was under it before is not lost yet. */
function noteNamesakes(source: Source, note: (text: string) => void): void {
  const loops = source.namesakes();
  if (loops.length === 0) return;
  const which = loops.join(", ");
  note(`ATTENTION: an image of the same name was deleted: ${which} has the only copy of it`);
}
