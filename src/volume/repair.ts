import {
  primaryOffset,
  type Superblock,
  superblockBytes,
  withFields,
} from "../btrfs/superblock.ts";
import { alignedBuffer } from "../linux/aligned-buffer.ts";
import { procPath, readExactly, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECT, O_RDONLY } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { writeDurably } from "./write.ts";

/** A primary superblock rebuilt from a good copy, and what became of the fsync log. */
export interface RebuiltPrimary {
  readonly superblock: Superblock;
  /**
   * "exact": the damaged block's own checksum proves every byte, log included. "lost": nothing proves
   * that the old primary did not point to a log; what was fsynced since the last commit may be gone.
   */
  readonly log: "exact" | "lost";
}

const checksumBytes = 32;

const differences = (a: Uint8Array, b: Uint8Array): number =>
  a.reduce((count, byte, i) => count + (byte === b[i] ? 0 : 1), 0);

/**
 * The damaged block is `candidate` but for its damage: either the damage left its checksum
 * alone, or it hit nothing but one byte of the checksum.
 */
function provesEveryByte(damaged: Superblock, candidate: Superblock): boolean {
  const checksumDamage = differences(
    damaged.block.subarray(0, checksumBytes),
    candidate.block.subarray(0, checksumBytes),
  );
  if (checksumDamage === 0) return true;
  const bodyDamage = differences(
    damaged.block.subarray(checksumBytes),
    candidate.block.subarray(checksumBytes),
  );
  return checksumDamage === 1 && bodyDamage === 0;
}

/**
 * The primary that belongs at 64 KiB, from a mirror of the same filesystem. An fsync writes
 * the primary alone (fs/btrfs/tree-log.c, btrfs_sync_log), so the mirror never knows of
 * the log that only the damaged block points to: it is kept when the damaged block's
 * checksum comes out right with it.
 */
export function rebuildPrimary(damaged: Superblock, mirror: Superblock): RebuiltPrimary {
  const plain = withFields(mirror, { address: BigInt(primaryOffset) });
  const { logRoot, logRootLevel } = damaged;
  const withLog = withFields(plain, { logRoot, logRootLevel });
  for (const superblock of [withLog, plain]) {
    if (provesEveryByte(damaged, superblock)) return { superblock, log: "exact" };
  }
  return { superblock: plain, log: "lost" };
}

/**
 * Reads the damaged block again past the page cache, which may hold a torn or stale copy, and
 * throws when it is not what the decision was made from.
 */
function assertStillDamaged(kernel: Kernel, device: number, damaged: Superblock): void {
  withFd(kernel, kernel.open(procPath(device), O_RDONLY | O_DIRECT), (fd) => {
    const onDisk = alignedBuffer(superblockBytes);
    if (
      readExactly(kernel, fd, onDisk, primaryOffset) &&
      differences(onDisk, damaged.block) === 0
    ) {
      return;
    }
    throw new VolumeError("busy", "the superblock changed while it was looked at", {
      hint: "see what writes to the disk, then run the command again",
    });
  });
}

/** Behind the checksum: fsid, address, flags and magic. They lie in one sector, which is written as a whole. */
const nameStart = 32;
const nameEnd = 72;

/**
 * Writes the rebuilt superblock to 64 KiB and flushes. First the bytes that name the filesystem: if the
 * power fails then, what is there can still be told to be this filesystem's. The checksum stays what it
 * was, for the next run goes by it to tell whether an fsync log is lost.
 */
export function repairPrimary(
  kernel: Kernel,
  device: number,
  damaged: Superblock,
  rebuilt: Superblock,
): void {
  assertStillDamaged(kernel, device, damaged);
  const name = rebuilt.block.subarray(nameStart, nameEnd);
  writeDurably(kernel, device, [[primaryOffset + nameStart, name]]);
  writeDurably(kernel, device, [[primaryOffset, rebuilt.block]]);
}
