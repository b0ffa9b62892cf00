import { mountedUuid } from "../btrfs/mounted.ts";
import { SystemError } from "../linux/errno.ts";
import { statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { readMounts } from "../linux/mountinfo.ts";
import { quoted } from "./shell-words.ts";

/**
 * A file that was deleted while a loop device shows it lives as long as the device is attached, and no longer.
 * These are the words for it, and how to save it.
 */
export const deletedText = (device: string, file: string): string =>
  `the image ${file} was deleted: ${device} has the only copy of it, which goes when it is detached`;

/**
 * A command that saves a loop device ("loop0"). Mounted, it must not change while it is copied, and is read past
 * the page cache, which may hold what the filesystem has changed since.
 */
export function saveHint(kernel: Kernel, name: string, device: string, file: string): string {
  const copy = quoted(`${file}.saved`);
  if (mountedUuid(kernel, name) === null) {
    return `save it: cp --sparse=always ${quoted(device)} ${copy}`;
  }
  const freezes = [mountOf(kernel, device)].filter((path) => path !== null).map(quoted);
  const freeze = freezes.map((path) => `fsfreeze --freeze ${path} && `).join("");
  const thaw = freezes.map((path) => `; fsfreeze --unfreeze ${path}`).join("");
  return `save it: ${freeze}dd if=${quoted(device)} of=${copy} bs=1M iflag=direct conv=sparse${thaw}`;
}

/** Where a device is mounted in this mount namespace; null where it is not. */
function mountOf(kernel: Kernel, device: string): string | null {
  const nodeDevice = nodeDeviceOf(kernel, device);
  const mount = readMounts(kernel).find(
    ({ type, source }) => type === "btrfs" && nodeDeviceOf(kernel, source) === nodeDevice,
  );
  return mount?.path ?? null;
}

function nodeDeviceOf(kernel: Kernel, path: string): string | null {
  try {
    return statOrNull(kernel, path)?.nodeDevice ?? null;
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
