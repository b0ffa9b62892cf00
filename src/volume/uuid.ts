import { isTemporary } from "../btrfs/mounted.ts";
import {
  isValidCopy,
  parseSuperblock,
  primaryOffset,
  superblockBytes,
} from "../btrfs/superblock.ts";
import { SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Disk } from "./disk.ts";
import { lookAtCopies } from "./superblocks.ts";

/**
 * The UUID that stands on a disk which the kernel has mounted as `mountedUuid`. It is another one where the
 * filesystem is the copy of one that is mounted too; that is a note.
 */
export function uuidOnDisk(
  kernel: Kernel,
  disk: Disk,
  mountedUuid: string,
  note: (text: string) => void,
): string {
  if (!isTemporary(kernel, mountedUuid)) return mountedUuid;
  const uuid = lookAtCopies(disk).newest?.fsid ?? mountedUuid;
  noteTemporary(uuid, mountedUuid, note);
  return uuid;
}

/** The same of a disk that is not mounted; null where its first superblock is none, or cannot be read. */
export function uuidAtRest(disk: Disk): string | null {
  try {
    const block = disk.read(primaryOffset, superblockBytes);
    if (block.length < superblockBytes) return null;
    const superblock = parseSuperblock(block);
    return isValidCopy(superblock, primaryOffset) ? superblock.fsid : null;
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

export function noteTemporary(
  uuid: string,
  mountedUuid: string,
  note: (text: string) => void,
): void {
  if (uuid === mountedUuid) return;
  note(
    `the kernel has it mounted as ${mountedUuid}, which stands on no disk: the filesystem ${uuid} was ` +
      "mounted from another disk already, so one is a copy of the other",
  );
}
