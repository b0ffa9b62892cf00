import {
  copyOffsets,
  isValidCopy,
  parseSuperblock,
  primaryOffset,
  type Superblock,
  superblockBytes,
} from "../btrfs/superblock.ts";
import { SystemError } from "../linux/errno.ts";
import { isAllZero } from "../linux/bytes.ts";
import type { Disk } from "./disk.ts";

/** How one copy of the superblock is. `stale`: intact, but of an older commit or another filesystem. */
export type CopyState = "valid" | "stale" | "damaged" | "zero" | "unreadable";

export interface CopyReport {
  readonly offset: number;
  readonly state: CopyState;
  readonly generation: number | null;
}

interface Copy {
  readonly offset: number;
  readonly state: "valid" | "damaged" | "zero" | "unreadable";
  readonly superblock: Superblock | null;
}

/** A mounted filesystem writes its superblocks, and a read may meet one half written: it is read again. */
const readAttempts = 5;

function readCopy(disk: Disk, offset: number): Copy {
  try {
    for (let attempt = 1; ; attempt++) {
      const superblock = parseSuperblock(disk.read(offset, superblockBytes));
      if (isValidCopy(superblock, offset)) return { offset, state: "valid", superblock };
      if (attempt < readAttempts) continue;
      const state = isAllZero(superblock.block) ? "zero" : "damaged";
      return { offset, state, superblock: null };
    }
  } catch (error) {
    if (error instanceof SystemError) return { offset, state: "unreadable", superblock: null };
    throw error;
  }
}

/** What a disk says of itself may be anything: a number that cannot be a true count is not reported. */
export const countOrNull = (value: bigint): number | null =>
  value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;

/** The copies on a disk, and the one that counts: the primary if it is intact, else the newest. */
export function lookAtCopies(disk: Disk): {
  readonly copies: readonly CopyReport[];
  readonly newest: Superblock | null;
} {
  const found = copyOffsets(disk.sizeBytes).map((offset) => readCopy(disk, offset));
  const primary = found.find(({ offset }) => offset === primaryOffset)?.superblock ?? null;
  const newestIntact = found
    .map(({ superblock }) => superblock)
    .filter((superblock) => superblock !== null)
    .reduce<Superblock | null>(
      (best, one) => (best === null || one.generation > best.generation ? one : best),
      null,
    );
  const newest = primary ?? newestIntact;
  const copies = found.map(({ offset, state, superblock }) => {
    const isStale =
      superblock !== null &&
      (superblock.fsid !== newest?.fsid || superblock.generation < newest.generation);
    const generation = superblock === null ? null : countOrNull(superblock.generation);
    return { offset, state: isStale ? ("stale" as const) : state, generation };
  });
  return { copies, newest };
}
