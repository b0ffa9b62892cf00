import { mountedUuid } from "../btrfs/mounted.ts";
import { assertUnclaimed, devicePath } from "../linux/block-device.ts";
import { Errno, SystemError } from "../linux/errno.ts";
import { unescaped } from "../linux/escapes.ts";
import { namesIn, readTextOrNull, statOrNull } from "../linux/files.ts";
import type { FileStatus, Kernel } from "../linux/kernel.ts";
import { isPartitionOf, type Overlap, overlapsOf } from "../linux/place.ts";
import { VolumeError } from "./error.ts";
import type { Verdict } from "./verdict.ts";

/**
 * What the kernel says is in use on any byte of a disk. A disk that is claimed as a whole it does not let
 * us mount or open; a loop device on a part of it, and a partition of another device that
 * shows the same bytes, claim nothing below them.
 */

/** Whether a mount, swap, md, device-mapper or an O_EXCL opener has a block device or a partition of it. */
function isClaimed(kernel: Kernel, name: string): boolean {
  try {
    assertUnclaimed(kernel, devicePath(name));
    return false;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.errno === Errno.EBUSY) return true;
    // A container without the node: sysfs knows some of it.
    const holders = namesIn(kernel, `/sys/class/block/${name}/holders`);
    return holders.length > 0 || mountedUuid(kernel, name) !== null;
  }
}

/** The devices that are in use themselves, and not only through a partition that lies elsewhere on them. */
function inUse(kernel: Kernel, overlaps: readonly Overlap[]): readonly Overlap[] {
  return overlaps.filter(({ name }) => {
    if (!isClaimed(kernel, name)) return false;
    const folder = namesIn(kernel, `/sys/class/block/${name}`);
    const partitions = folder.filter((entry) => isPartitionOf(entry, name));
    // What claims the whole disk keeps every partition of it from being opened.
    return partitions.every((partition) => isClaimed(kernel, partition));
  });
}

/**
 * Throws `busy` when somebody uses bytes of the device `name` by way of another device. On an intact Btrfs a
 * loop device that nobody uses is no reason: nothing but its own bytes are written. A partition of
 * a disk that is refused for its partition table, or given away by a policy, is none either.
 */
export function assertNoOtherUse(
  kernel: Kernel,
  path: string,
  name: string,
  verdict: Verdict["kind"],
): void {
  const overlaps = overlapsOf(kernel, name);
  if (overlaps.length === 0) return;
  const [used] = inUse(kernel, overlaps);
  if (used !== undefined) {
    const what = used.isPart ? "a part of it" : "the same bytes";
    throw busy(`${path} is in use: ${devicePath(used.name)} shows ${what}, and is in use itself`, {
      hint: `see who uses it: lsblk ${devicePath(used.name)}; findmnt ${devicePath(used.name)}`,
    });
  }
  if (verdict === "btrfs") return;
  const part = overlaps.find(
    (overlap) => overlap.isPart && !(verdict === "foreign" && isPartitionOf(overlap.name, name)),
  );
  if (part === undefined) return;
  const partPath = devicePath(part.name);
  throw isPartitionOf(part.name, name)
    ? busy(`${path} is in use: the kernel has a partition ${partPath} on it`, {
        hint: `if nobody needs it: partx --delete ${path}`,
      })
    : busy(`${path} is in use: a part of it is attached to ${partPath}`, {
        hint: `if nobody needs it: losetup --detach ${partPath}`,
      });
}

const busy = (message: string, details: { readonly hint: string }): VolumeError =>
  new VolumeError("busy", message, details);

/** Throws `busy` when the kernel swaps to this file (proc_swaps(5)). */
export function assertNoSwap(kernel: Kernel, path: string, file: FileStatus): void {
  const [, ...lines] = (readTextOrNull(kernel, "/proc/swaps") ?? "").split("\n");
  const isHere = lines.some((line) => {
    const found = lookAt(kernel, unescaped(line.split(/\s/)[0] ?? ""));
    return found?.inode === file.inode && found.device === file.device;
  });
  if (isHere) throw busy(`the kernel swaps to ${path}`, { hint: `swapoff ${path}` });
}

function lookAt(kernel: Kernel, path: string): FileStatus | null {
  try {
    return path === "" ? null : statOrNull(kernel, path);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
