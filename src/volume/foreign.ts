import { holdsAt, isAllZero } from "../linux/bytes.ts";
import type { Disk } from "./disk.ts";
import { endFormats, fileFormats } from "./file-formats.ts";
import {
  blockSignatures,
  type EndSignature,
  endSignatures,
  gpt,
  headSignatures,
  middleBytes,
  middleSignatures,
  type Signature,
} from "./signatures.ts";

/**
 * Whose disk is this? Only the first 64 KiB (which Btrfs leaves alone), the superblock's own place and
 * the end of the disk are asked here.
 */

const kib = 1024;
const u16At = (data: Uint8Array, at: number): number =>
  (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8);

const sectorSizes = [512, 4096];
const partitionEntries = [446, 462, 478, 494];

/** struct sun_disklabel: the sixteen-bit words of its sector add up to nothing by exclusive or. */
function isSunLabel(head: Uint8Array): boolean {
  if (head[508] !== 0xda || head[509] !== 0xbe) return false;
  let sum = 0;
  for (let at = 0; at < 512; at += 2) sum ^= u16At(head, at);
  return sum === 0;
}

/** A partition table at the head: GPT by its header, MBR by a used entry. */
function partitionTable(head: Uint8Array): string | null {
  for (const sector of sectorSizes) if (holdsAt(head, gpt, sector)) return "GPT partition table";
  if (isSunLabel(head)) return "Sun partition table";
  if (holdsAt(head, sgi, 0)) return "SGI partition table";
  const hasMbrMark = head[510] === 0x55 && head[511] === 0xaa;
  const isUsed = (entry: number): boolean => head[entry + 4] !== 0;
  return hasMbrMark && partitionEntries.some(isUsed) ? "MBR partition table" : null;
}

/** struct sgi_disklabel, whose numbers are big endian */
const sgi = new Uint8Array([0x0b, 0xe5, 0xa9, 0x41]);

const sectorBytes = 512;
/** All marks at the end lie in it; the first is one of Promise's, 3087 sectors from the end. */
const tailBytes = 3088 * sectorBytes;

/** How much of the head the signatures look at: 64 KiB and the block of the superblock. */
export const signatureHeadBytes = 68 * kib;

const nameIn = (data: Uint8Array, signatures: readonly Signature[]): string | null =>
  signatures.find(({ magic, offsets, confirm }) =>
    offsets.some((at) => holdsAt(data, magic, at) && (confirm?.(data, at) ?? true)),
  )?.name ?? null;

/** The name of what owns this disk by the marks of its first 64 KiB, which Btrfs leaves alone; or null. */
export function foreignInHead(head: Uint8Array): string | null {
  if (isAllZero(head.subarray(0, 64 * kib))) return null;
  return nameIn(head, [...fileFormats(), ...headSignatures()]) ?? partitionTable(head);
}

/** The same by the block in which Btrfs has its superblock, where that is not intact. */
export function foreignInBlock(head: Uint8Array): string | null {
  if (isAllZero(head)) return null;
  inBlock ??= blockSignatures();
  return nameIn(head, inBlock);
}

/** Made for the first disk that needs them; one that is to be formatted is looked at again before that. */
let inBlock: readonly Signature[] | undefined;
let atTheEnd: readonly EndSignature[] | undefined;

/** Kept likewise: new memory costs more than the reading. */
let tailBuffer: Uint8Array<ArrayBuffer> | undefined;

/**
 * The name of an array that this disk is a member of, or of a table that has its backup at the end; or null. What
 * lies before `deviceBytes` belongs to the files of a Btrfs, and anybody may have written it: it is not read.
 */
export function foreignAtEnd(disk: Disk, deviceBytes: bigint): string | null {
  // What will grow has its end where it ends now.
  const { sizeBytes } = disk.grownFrom ?? disk;
  const claimedBytes = Number(deviceBytes);
  if (claimedBytes >= sizeBytes) return null;
  const tailStart = Math.max(0, claimedBytes, sizeBytes - tailBytes);
  tailBuffer ??= new Uint8Array(new ArrayBuffer(tailBytes));
  const tail = disk.read(tailStart, sizeBytes - tailStart, tailBuffer);
  if (isAllZero(tail)) return null;
  const isAt = (place: number, { magic, confirm }: EndSignature): boolean => {
    if (place <= 0 || place < tailStart || !holdsAt(tail, magic, place - tailStart)) return false;
    if (confirm === undefined) return true;
    const sectorStart = place - (place % sectorBytes) - tailStart;
    return sectorStart >= 0 && confirm(tail.subarray(sectorStart, sectorStart + sectorBytes));
  };
  atTheEnd ??= [...endSignatures(), ...endFormats()];
  const found = atTheEnd.find((signature) =>
    signature.offsets(sizeBytes).some((place) => isAt(place, signature)),
  );
  return found?.name ?? null;
}

/** The name of what owns a disk that bears no trace of a Btrfs, by marks that stand where that has files. */
export const foreignInMiddle = (disk: Disk): string | null =>
  nameIn(disk.read(0, middleBytes), middleSignatures());
