import { primaryOffset, type Superblock, withFields } from "../btrfs/superblock.ts";

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

export const differences = (a: Uint8Array, b: Uint8Array): number =>
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
