import { isTemporary } from "../btrfs/mounted.ts";
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
