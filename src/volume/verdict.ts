import { checksumName } from "../btrfs/checksum.ts";
import {
  copyOffsets,
  isValidCopy,
  mirrorOffsets,
  parseSuperblock,
  primaryOffset,
  type Superblock,
  superblockBytes,
  superblockMagic,
  temporaryMagic,
} from "../btrfs/superblock.ts";
import { SystemError } from "../linux/errno.ts";
import { isAllZero } from "../linux/bytes.ts";
import { firstNonZero, type Look } from "./blank.ts";
import type { Disk } from "./disk.ts";
import {
  foreignAtEnd,
  foreignInBlock,
  foreignInHead,
  foreignInMiddle,
  signatureHeadBytes,
} from "./foreign.ts";
import { hasIntent, intendedBytes } from "./intent.ts";
import { mkfsHeadBytes, mkfsRanges } from "./mkfs-ranges.ts";
import { rebuildPrimary } from "./rebuilt-primary.ts";

/** What is on a disk. The names are those of the contract and of the error codes. */
export type Verdict =
  | { readonly kind: "unreadable"; readonly cause: SystemError }
  | { readonly kind: "mounted"; readonly uuid: string }
  /** `superblock`: of the intact Btrfs beside it, if there is one; `isAtEnd`: behind its end. */
  | {
      readonly kind: "foreign";
      readonly name: string;
      readonly superblock: Superblock | null;
      readonly isAtEnd: boolean;
    }
  | { readonly kind: "btrfs"; readonly superblock: Superblock }
  | { readonly kind: "multi-device"; readonly superblock: Superblock }
  | { readonly kind: "shrunk"; readonly superblock: Superblock }
  | { readonly kind: "wiped"; readonly primary: Superblock; readonly mirror: Superblock }
  | { readonly kind: "damaged"; readonly primary: Superblock; readonly mirror: Superblock }
  | { readonly kind: "ambiguous"; readonly primary: Superblock; readonly mirror: Superblock }
  | { readonly kind: "interrupted" }
  | { readonly kind: "hopeless" }
  | { readonly kind: "blank" }
  | { readonly kind: "unknown"; readonly offset: number };

/** Whether it really has. What finds out is loaded with the first superblock that says so, for nearly none does. */
export function hasSeveralDevices(disk: Disk, superblock: Superblock): boolean {
  if (superblock.deviceCount <= 1n) return false;
  const diagnosis = require("./diagnosis.ts") as typeof import("./diagnosis.ts");
  return diagnosis.hasSeveralDevices(disk, superblock);
}

/**
 * An image that was cut short does not become whole by growing: what a disk has is what counts, not what it
 * is to have.
 */
const fits = ({ deviceBytes }: Superblock, disk: Disk): boolean =>
  deviceBytes <= BigInt((disk.grownFrom ?? disk).sizeBytes);

/** A filesystem that no mount can use on this disk, whatever its superblock's health. */
function flawOf(superblock: Superblock, disk: Disk): Verdict | null {
  if (hasSeveralDevices(disk, superblock)) {
    return { kind: "multi-device", superblock };
  }
  if (!fits(superblock, disk)) return { kind: "shrunk", superblock };
  return null;
}

/** The damaged block still names the filesystem of this mirror, in one of its two places. */
const bearsFsidOf = (primary: Superblock, mirror: Superblock): boolean =>
  primary.fsid === mirror.fsid ||
  (primary.deviceFsid === mirror.deviceFsid && primary.deviceUuid === mirror.deviceUuid);

const newest = (copies: readonly Superblock[]): Superblock | undefined =>
  copies.toSorted((a, b) => Number(b.generation - a.generation))[0];

/**
 * The mirror is as new as the damaged block: every commit writes all copies, so it is at most the commit behind
 * that was under way. A copy beyond the filesystem's end, of when it was larger, is not written any more. What the
 * block itself says of this may be its damage: a checksum that comes right with the mirror's bytes proves more.
 */
const isUpToDate = (primary: Superblock, mirror: Superblock): boolean =>
  rebuildPrimary(primary, mirror).log === "exact" ||
  (mirror.generation + 1n >= primary.generation &&
    mirror.address + BigInt(superblockBytes) < primary.deviceBytes);

/**
 * The copy that a person who says so gets back, where the primary does not say whose it is. Each mkfs and each
 * commit writes the first mirror, but the last one only on a filesystem that reaches so far: where they are of two
 * filesystems, the last one is the older.
 */
const likeliest = (mirrors: readonly Superblock[]): Superblock | undefined =>
  newest(mirrors.filter(({ fsid }) => fsid === mirrors[0]?.fsid));

/**
 * The mirror that a wrong primary may be rebuilt from without asking; undefined if that is not clear. A
 * primary that is all zeros names no filesystem: a file on another filesystem can hold a whole Btrfs, block for
 * block, with its mirror in the right place.
 */
function trustedMirror(
  primary: Superblock,
  mirrors: readonly Superblock[],
): Superblock | undefined {
  const candidates = mirrors.filter((mirror) => bearsFsidOf(primary, mirror));
  const best = newest(candidates.filter((mirror) => isUpToDate(primary, mirror)));
  const agree = candidates.every(
    (mirror) => mirror.fsid === best?.fsid && mirror.deviceUuid === best.deviceUuid,
  );
  return agree ? best : undefined;
}

/** The mirrors that are intact, of those for which this disk has room. */
const intactMirrors = (disk: Disk): readonly Superblock[] =>
  mirrorOffsets
    .filter((offset) => copyOffsets(disk.sizeBytes).includes(offset))
    .map((offset) => ({ offset, copy: parseSuperblock(disk.read(offset, superblockBytes)) }))
    .filter(({ copy, offset }) => isValidCopy(copy, offset))
    .map(({ copy }) => copy);

type Revivable = Extract<Verdict, { readonly kind: "wiped" | "damaged" }>;

/** 7: everything but the magic is right. That is what a deliberate wipe leaves. */
function wipedOf(primary: Superblock): Revivable | null {
  if (primary.magic !== 0n || checksumName(primary.checksumType) === undefined) return null;
  const mirror = withMagic(primary);
  return isValidCopy(mirror, primaryOffset) ? { kind: "wiped", primary, mirror } : null;
}

/** 8: the primary is wrong, and it is beyond doubt which mirror is its own. */
function damagedOf(
  primary: Superblock,
  mirrors: readonly Superblock[],
  head: Uint8Array,
): Revivable | null {
  const mirror = trustedMirror(primary, mirrors);
  const isOwn = mirror !== undefined && isAllZero(head.subarray(0, primaryOffset));
  return isOwn ? { kind: "damaged", primary, mirror } : null;
}

/** Decisions 3 to 13. Throws the SystemError of the first read that it needs and that fails. */
function judgeReadable(disk: Disk, look: Look): Verdict {
  const head = disk.read(0, signatureHeadBytes);
  const hasPrimary = head.length >= primaryOffset + superblockBytes;
  const primary = hasPrimary ? parseSuperblock(head.subarray(primaryOffset)) : null;
  const intact = primary !== null && isValidCopy(primary, primaryOffset) ? primary : null;
  const foreign = (name: string, isAtEnd = false): Verdict => ({
    kind: "foreign",
    name,
    superblock: intact,
    isAtEnd,
  });

  // 3, 4, 5, 6: a good primary, unless another format has its mark in front of it or behind its end.
  const inHead = foreignInHead(head);
  if (inHead !== null) return foreign(inHead);
  if (intact !== null) {
    const atEnd = foreignAtEnd(disk, intact.deviceBytes);
    if (atEnd !== null) return foreign(atEnd, true);
    return flawOf(intact, disk) ?? { kind: "btrfs", superblock: intact };
  }

  // 3, 7, 8: a superblock that still names its filesystem comes before marks that may be bytes of its files.
  const inBlock = foreignInBlock(head);
  if (inBlock !== null) return foreign(inBlock);
  const wiped = primary === null ? null : wipedOf(primary);
  const mirrors = wiped === null && primary !== null ? intactMirrors(disk) : [];
  const found = wiped ?? (primary === null ? null : damagedOf(primary, mirrors, head));
  const best = found?.mirror ?? likeliest(mirrors);
  const atEnd = foreignAtEnd(disk, best?.deviceBytes ?? 0n);
  if (atEnd !== null) return foreign(atEnd, true);
  if (found?.kind === "damaged") return flawOf(found.mirror, disk) ?? found;
  if (found !== null) return found;

  // 9: there are mirrors, but it takes a person to say which filesystem this is.
  if (primary !== null && best !== undefined) return { kind: "ambiguous", primary, mirror: best };

  // 10: no valid copy, a format of ours began here, and nothing is there that mkfs has not written.
  const intended = intendedBytes(disk);
  const stray = intended === null ? undefined : firstNonZero(disk, besideWreck(intended, look));
  if (stray === null) return { kind: "interrupted" };

  // 11: it was a Btrfs once.
  const magics = copyOffsets(disk.sizeBytes).map(
    (offset) => parseSuperblock(disk.read(offset, superblockBytes)).magic,
  );
  if (magics.some((magic) => magic === superblockMagic || magic === temporaryMagic)) {
    return { kind: "hopeless" };
  }

  // 12, 13: zeros wherever anything could show.
  const offset = stray ?? firstNonZero(disk, look);
  if (offset === null) return { kind: "blank" };
  const inMiddle = foreignInMiddle(disk);
  return inMiddle === null ? { kind: "unknown", offset } : foreign(inMiddle);
}

/** Looks wherever an mkfs that was cut short on a disk of this size has written nothing. */
const besideWreck = (deviceBytes: number, look: Look): Look => ({
  ...look,
  headBytes: mkfsHeadBytes,
  except: mkfsRanges(deviceBytes),
});

/** The block with the 8 bytes of the magic put back and nothing else touched. */
function withMagic(primary: Superblock): Superblock {
  const block = primary.block.slice();
  new DataView(block.buffer).setBigUint64(64, superblockMagic, true);
  return parseSuperblock(block);
}

/**
 * What is on this disk: a function of the bytes read and of nothing else. The
 * decisions stand in the order of the contract, and the first that fits wins.
 *
 * `mountedUuid` is what the kernel says of the device: a mounted filesystem's superblock is
 * being written, so it is not judged.
 */
export function judge(disk: Disk, mountedUuid: string | null, look: Look = {}): Verdict {
  if (mountedUuid !== null) return { kind: "mounted", uuid: mountedUuid };
  try {
    return judgeReadable(disk, look);
  } catch (error) {
    // 1: a read error is never "blank".
    if (error instanceof SystemError) return { kind: "unreadable", cause: error };
    throw error;
  }
}

/**
 * The look of a warm boot: nothing foreign, the magic, the address, one device, large enough,
 * no format of ours unfinished. The checksum is left to the kernel, which computes it
 * at mount; null means that only `judge` can tell.
 */
export function glance(disk: Disk): Superblock | null {
  const head = disk.read(0, signatureHeadBytes);
  if (head.length < signatureHeadBytes) return null;
  const primary = parseSuperblock(head.subarray(primaryOffset));
  const looksRight =
    primary.magic === superblockMagic &&
    primary.address === BigInt(primaryOffset) &&
    primary.deviceCount <= 1n &&
    fits(primary, disk);
  const isOurs =
    looksRight &&
    foreignInHead(head) === null &&
    foreignAtEnd(disk, primary.deviceBytes) === null &&
    !hasIntent(disk);
  return isOurs ? primary : null;
}
