import {
  bytesIn,
  copyPlaces,
  crc32c,
  isSound,
  mirrorPlaces,
  number,
  primaryPlace,
  superblockBytes,
  superblockMagic,
} from "./own-superblock.ts";
import { bytesOf, isZero, type Sketch, type Span } from "./sketch.ts";

/** What must hold of a verdict, from the contract and the sketch alone: nothing of src is used. */

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Throws the claim's opposite in words. */
export function demand(holds: boolean, claim: string): void {
  if (!holds) throw new Error(claim);
}

interface Copy {
  readonly place: number;
  readonly block: Uint8Array;
}

/** The copies that are sound, of those for which this disk has room. */
export const soundCopies = (sketch: Sketch): readonly Copy[] =>
  copyPlaces
    .filter((place) => place + superblockBytes < sketch.sizeBytes)
    .map((place) => ({ place, block: bytesOf(sketch, place, superblockBytes) }))
    .filter(({ place, block }) => isSound(block, place));

/** The block at 64 KiB is sound, on a disk of which it may just be the end. */
export const isPrimarySound = (sketch: Sketch): boolean =>
  isSound(bytesOf(sketch, primaryPlace, superblockBytes), primaryPlace);

/** One device, and room for what the filesystem says it uses. */
export const fits = (block: Uint8Array, sizeBytes: number): boolean =>
  number(block, "deviceCount") <= 1n && number(block, "deviceBytes") <= BigInt(sizeBytes);

/** The size in an intact record of a format of this disk as it is, or was when it was smaller; else null. */
function recordedBytes(sketch: Sketch): number | null {
  const sector = bytesOf(sketch, 64 * MiB + 32 * KiB, 512);
  if (sector.length < 512 || !equal(sector.subarray(32, 48), ascii("arcbox-format-v1")))
    return null;
  const view = new DataView(sector.buffer);
  const size = view.getBigUint64(48, true);
  const isIntact =
    view.getUint32(0, true) === crc32c(sector.subarray(32)) && isZero(sector.subarray(4, 32));
  const isOfThisDisk = size >= BigInt(64 * MiB + 64 * KiB) && size <= BigInt(sketch.sizeBytes);
  return isIntact && isOfThisDisk ? Number(size) : null;
}

export const hasTrueIntent = (sketch: Sketch): boolean => recordedBytes(sketch) !== null;

/** Where mkfs puts something: its superblocks and the trees, as seen with strace, a MiB for each. */
function mayBeOfMkfs(place: number, sizeBytes: number): boolean {
  if (place === primaryPlace) return true;
  if (mirrorPlaces.some((mirror) => place >= mirror && place < mirror + 64 * KiB)) return true;
  const trees = [1, 5, 21, 29, 37].map((mebibytes) => mebibytes * MiB);
  if (trees.some((start) => place >= start && place < start + MiB)) return true;
  const most = sizeBytes > 50 * GiB ? GiB : 256 * MiB;
  const second = 37 * MiB + Math.max(32 * MiB, Math.min(most, sizeBytes / 20));
  return Math.abs(place - second) <= MiB + 64 * KiB;
}

/** Something other than zero where mkfs has written nothing, and where it shows. */
export function contradictsInterrupted(sketch: Sketch): boolean {
  const sizeBytes = recordedBytes(sketch) ?? 0;
  const blocks = new Map(
    [...sketch.blocks].filter(([number]) => !mayBeOfMkfs(number * 4096, sizeBytes)),
  );
  const rest = { ...sketch, blocks, unreadable: [] };
  const isInHead = [...blocks.keys()].some((number) => number * 4096 < 40 * MiB);
  return isInHead || contradictsBlank(rest) !== null;
}

export const isHeadZero = (sketch: Sketch): boolean => isZero(bytesOf(sketch, 0, primaryPlace));

/** A wiped superblock: nothing but its magic is missing. */
export function isWiped(sketch: Sketch): boolean {
  const block = bytesOf(sketch, primaryPlace, superblockBytes).slice();
  if (block.length < superblockBytes || !isZero(bytesIn(block, "magic"))) return false;
  bytesIn(block, "magic").set(superblockMagic);
  return isSound(block, primaryPlace);
}

/** The primary says whose it is: by the filesystem's UUID, or by those of its device's entry. */
export const namesSame = (primary: Uint8Array, mirror: Uint8Array): boolean =>
  equal(bytesIn(primary, "fsid"), bytesIn(mirror, "fsid")) ||
  (equal(bytesIn(primary, "deviceFsid"), bytesIn(mirror, "deviceFsid")) &&
    equal(bytesIn(primary, "deviceUuid"), bytesIn(mirror, "deviceUuid")));

export const holdsBtrfsMagic = (sketch: Sketch): boolean =>
  copyPlaces.some((place) => {
    const magic = bytesOf(sketch, place + 64, 8);
    return equal(magic, superblockMagic) || equal(magic, ascii("!BHRfS_M"));
  });

/** Where the contract demands zeros before a disk is called blank. */
export function* placesToBeZero({ sizeBytes, isFile }: Sketch): Generator<Span> {
  if (isFile) {
    yield [0, sizeBytes];
    return;
  }
  yield [0, 2 * MiB];
  yield [sizeBytes - MiB, sizeBytes];
  for (const mirror of mirrorPlaces) yield [mirror, mirror + superblockBytes];
  // ext4 with sparse_super: the groups 1 and the powers of 3, 5 and 7; 8 blocks a byte of a bitmap.
  for (const block of [KiB, 2 * KiB, 4 * KiB]) {
    const groups = [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729, 2187, 2401, 3125];
    for (const group of groups) {
      const start = group * 8 * block * block + (block === KiB ? KiB : 0);
      yield [start, start + KiB];
    }
  }
  // mkfs.xfs: four allocation groups, or as many as it takes with 1 TiB each.
  const share = Math.min(Math.floor(sizeBytes / 4 / 4096) * 4096, 1024 * GiB);
  for (let i = 1; share > 0 && i * share < sizeBytes; i++) yield [i * share, i * share + 512];
  for (let i = 0; i < 256; i++) {
    const start = Math.floor(((i + 0.5) * sizeBytes) / 256 / 4096) * 4096;
    yield [start, start + 4096];
  }
}

/** Something other than zero, or something unreadable, where only zeros prove a disk blank. */
export function contradictsBlank(sketch: Sketch): Span | null {
  // Most sketches hold nothing: then there is nothing to look for.
  if (sketch.blocks.size === 0 && sketch.unreadable.length === 0) return null;
  const held = [...sketch.blocks.keys()].map(
    (number): Span => [number * 4096, (number + 1) * 4096],
  );
  for (const [start, to] of placesToBeZero(sketch)) {
    const from = Math.max(0, start);
    const end = Math.min(to, sketch.sizeBytes);
    const touches = ([at, until]: Span): boolean => at < end && from < until;
    // An image file need not be read where it has no data.
    if (!sketch.isFile && from < end && sketch.unreadable.some(touches)) return [from, end];
    for (const span of held.filter(touches)) {
      const at = Math.max(span[0], from);
      if (!isZero(bytesOf(sketch, at, Math.min(span[1], end) - at))) return [from, end];
    }
  }
  return null;
}

type Place = (sizeBytes: number) => number;
interface Mark {
  readonly what: string;
  readonly pieces: readonly (readonly [place: Place, bytes: Uint8Array])[];
}

const mark = (what: string, place: number | Place, bytes: string | Uint8Array): Mark => ({
  what,
  pieces: [
    [
      typeof place === "number" ? () => place : place,
      typeof bytes === "string" ? ascii(bytes) : bytes,
    ],
  ],
});
const hex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits, "hex"));

const mdMagic = hex("fc4e2ba9");

/** On a disk of a sector or two the end is the head, and there is no room for a backup. */
const notHead = (place: number): number => (place > 0 ? place : Number.NEGATIVE_INFINITY);

/** Marks of owners that nothing else bears by chance, each where its own format keeps it. */
export const foreignMarks: readonly Mark[] = [
  mark("XFS", 0, "XFSB"),
  mark("LUKS", 0, hex("4c554b53babe0002")),
  mark("LVM", 512, "LABELONE"),
  mark("swap", 4086, "SWAPSPACE2"),
  mark("ext4", 1024 + 56, hex("53ef")),
  mark("F2FS", 1024, hex("1020f5f2")),
  mark("NTFS", 3, "NTFS    "),
  mark("exFAT", 3, "EXFAT   "),
  mark("squashfs", 0, "hsqs"),
  mark("ISO 9660", 32 * KiB + 1, "CD001"),
  mark("JFS", 32 * KiB, "JFS1"),
  mark("md 1.1", 0, mdMagic),
  mark("md 1.2", 4096, mdMagic),
  mark("bcache", 4120, hex("c68573f64e1a45ca8265f57f48ba6d81")),
  mark("ReiserFS", 64 * KiB + 52, "ReIsEr2Fs"),
  mark("GPT", 512, "EFI PART"),
  mark("GPT of 4 KiB sectors", 4096, "EFI PART"),
  mark("GPT backup", (size) => notHead(Math.floor(size / 512) * 512 - 512), "EFI PART"),
  mark("md 0.90", (size) => notHead(Math.floor(size / 65_536) * 65_536 - 65_536), mdMagic),
  mark("md 1.0", (size) => notHead(Math.floor((Math.floor(size / 512) - 16) / 8) * 4096), mdMagic),
  {
    what: "MBR",
    pieces: [
      [() => 510, hex("55aa")],
      [() => 446 + 4, hex("83")],
    ],
  },
];

/** What of the disk behind the first MiB belongs to files, by its primary superblock, sound or not. */
export const claimedBytes = (sketch: Sketch): bigint =>
  number(bytesOf(sketch, primaryPlace, superblockBytes), "deviceBytes");

/** The first owner whose whole mark stands on the disk, where no file of a Btrfs of this size can have it. */
export function ownerOf(
  sketch: Sketch,
  claimed = isPrimarySound(sketch) ? claimedBytes(sketch) : 0n,
): string | null {
  for (const { what, pieces } of foreignMarks) {
    const isThere = pieces.every(([place, bytes]) => {
      const at = place(sketch.sizeBytes);
      // What moves with the end of the disk may lie in a file; what is in front of all files may not.
      const isAtEnd = place(sketch.sizeBytes + GiB) !== at;
      const isFileContent = isAtEnd && at < claimed;
      return at >= 0 && !isFileContent && equal(bytesOf(sketch, at, bytes.length), bytes);
    });
    // libblkid asks the same of ext's short magic: a block size that exists.
    const [blockSize = 9, ...upper] = bytesOf(sketch, 1048, 4);
    const isSure = what !== "ext4" || (blockSize <= 6 && upper.every((byte) => byte === 0));
    if (isThere && isSure) return what;
  }
  return null;
}
