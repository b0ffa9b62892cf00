import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { glance, judge } from "../../src/volume/verdict.ts";
import {
  ascii,
  GiB,
  hexBytes,
  KiB,
  MiB,
  type Piece,
  sparseDisk,
  TiB,
} from "./support/sparse-disk.ts";
import { copiesOf, filled, flipped } from "./support/superblock.ts";

const verdictOf = (sizeBytes: number, ...pieces: readonly Piece[]) =>
  judge(sparseDisk({ sizeBytes, pieces }), null);

const bytesAt = (offset: number, bytes: Uint8Array): Piece => [offset, bytes];
const textAt = (offset: number, text: string): Piece => [offset, ascii(text)];
const hexAt = (offset: number, digits: string): Piece => [offset, hexBytes(digits)];

/** A boot sector's mark, and one entry of its table with the type byte set. */
const mbr = (entry: number, type = "83"): Piece[] => [
  hexAt(510, "55 aa"),
  hexAt(446 + 16 * entry + 4, type),
];
const mdMagic = "fc 4e 2b a9";

/** Each signature at the place that the format's own header gives it. */
const signatures: readonly (readonly [what: string, named: RegExp, readonly Piece[]])[] = [
  ["LUKS", /LUKS/, [hexAt(0, "4c 55 4b 53 ba be 00 02")]],
  ["LUKS2's second header, at 16 KiB", /LUKS/, [hexAt(16 * KiB, "53 4b 55 4c ba be")]],
  ["XFS", /XFS/, [textAt(0, "XFSB")]],
  ["ext4", /ext/, [hexAt(1024 + 0x38, "53 ef")]],
  ["ext4 with 4 KiB blocks", /ext/, [hexAt(1024 + 0x38, "53 ef"), hexAt(1024 + 0x18, "02")]],
  ["swap on 4 KiB pages", /swap/, [textAt(4 * KiB - 10, "SWAPSPACE2")]],
  ["swap on 16 KiB pages", /swap/, [textAt(16 * KiB - 10, "SWAPSPACE2")]],
  ["swap on 64 KiB pages", /swap/, [textAt(64 * KiB - 10, "SWAPSPACE2")]],
  ["old swap", /swap/, [textAt(4 * KiB - 10, "SWAP-SPACE")]],
  ["a hibernation image", /hibernation/, [textAt(4 * KiB - 10, "S1SUSPEND")]],
  ["LVM in sector 0", /LVM/, [textAt(0, "LABELONE")]],
  ["LVM in sector 1", /LVM/, [textAt(512, "LABELONE")]],
  ["LVM in sector 3", /LVM/, [textAt(1536, "LABELONE")]],
  ["md 1.1", /md RAID/, [hexAt(0, mdMagic)]],
  ["md 1.2", /md RAID/, [hexAt(4 * KiB, mdMagic)]],
  ["bcache", /bcache/, [hexAt(4120, "c6 85 73 f6 4e 1a 45 ca 82 65 f5 7f 48 ba 6d 81")]],
  ["bcachefs", /bcachefs/, [hexAt(4120, "c6 85 73 f6 66 ce 90 a9 d9 6a 60 cf 80 3d f7 ef")]],
  ["squashfs", /squashfs/, [textAt(0, "hsqs")]],
  ["EROFS", /EROFS/, [hexAt(1024, "e2 e1 f5 e0")]],
  ["F2FS", /F2FS/, [hexAt(1024, "10 20 f5 f2")]],
  ["F2FS, its second superblock", /F2FS/, [hexAt(5 * KiB, "10 20 f5 f2")]],
  ["NTFS", /NTFS/, [textAt(3, "NTFS    ")]],
  ["exFAT", /exFAT/, [textAt(3, "EXFAT   ")]],
  ["BitLocker", /BitLocker/, [textAt(3, "-FVE-FS-")]],
  ["FAT16", /FAT/, [textAt(54, "FAT16   ")]],
  ["FAT32", /FAT/, [textAt(82, "FAT32   ")]],
  ["APFS", /APFS/, [textAt(32, "NXSB")]],
  ["HFS+", /HFS/, [textAt(1024, "H+"), hexAt(1026, "00 04")]],
  ["ISO 9660", /ISO 9660/, [textAt(32 * KiB + 1, "CD001")]],
  ["UDF", /UDF/, [textAt(32 * KiB + 1, "BEA01")]],
  ["JFS", /JFS/, [textAt(32 * KiB, "JFS1")]],
  ["ReiserFS 3.5", /ReiserFS/, [textAt(8 * KiB + 52, "ReIsErFs")]],
  ["OCFS2", /OCFS2/, [textAt(8 * KiB, "OCFSV2")]],
  ["NILFS2", /NILFS/, [hexAt(1024, "02 00 00 00 00 00 34 34")]],
  ["Minix", /Minix/, [hexAt(1024 + 24, "5a 4d")]],
  ["Minix 1", /Minix/, [hexAt(1024, "e0 01 00 04 01 00 01 00"), hexAt(1024 + 16, "8f 13")]],
  ["Minix 2", /Minix/, [hexAt(1024, "e0 01 00 00 01 00 01 00"), hexAt(1024 + 16, "68 24")]],
  ["BFS", /BFS/, [hexAt(0, "ce fa ad 1b")]],
  ["a Sun label", /Sun/, [hexAt(0, "da be"), hexAt(508, "da be")]],
  ["an SGI label", /SGI/, [hexAt(0, "0b e5 a9 41")]],
  ["cramfs", /cramfs/, [hexAt(0, "45 3d cd 28")]],
  ["dm-verity", /verity/, [textAt(0, "verity\0\0")]],
  ["dm-integrity", /integrity/, [textAt(0, "integrt\0")]],
  ["Stratis", /Stratis/, [hexAt(516, "21 53 74 72 61 30 74 69 73 86 ff 02 5e 41 72 68")]],
  ["Ceph BlueStore", /Ceph/, [textAt(0, "bluestore block device")]],
  ["a GPT", /GPT/, [textAt(512, "EFI PART")]],
  ["a GPT on 4 KiB sectors", /GPT/, [textAt(4096, "EFI PART")]],
  ["an MBR, entry 1", /MBR/, mbr(0)],
  ["an MBR, entry 2", /MBR/, mbr(1)],
  ["an MBR, entry 3", /MBR/, mbr(2)],
  ["an MBR, entry 4", /MBR/, mbr(3)],
  ["a protective MBR", /MBR/, mbr(0, "ee")],
];

/** These stand at the end of the disk, where on a full Btrfs the files of any user lie. */
const atTheEnd: readonly (readonly [what: string, named: RegExp, readonly Piece[]])[] = [
  ["a backup GPT", /GPT.*backup/, [textAt(GiB - 512, "EFI PART")]],
  ["a backup GPT on 4 KiB sectors", /GPT.*backup/, [textAt(GiB - 4096, "EFI PART")]],
  ["md 1.0", /md RAID.*1\.0/, [hexAt(GiB - 8 * KiB, mdMagic)]],
  ["md 0.90", /md RAID.*0\.90/, [hexAt(GiB - 64 * KiB, mdMagic)]],
  ["Intel RAID", /Intel/, [textAt(GiB - 1024, "Intel Raid ISM Cfg Sig. ")]],
  ["DDF RAID", /DDF/, [hexAt(GiB - 512, "de 11 de 11")]],
  ["DRBD", /DRBD/, [hexAt(GiB - 4096 + 60, "83 74 02 6d")]],
];

/** These stand where the superblock of Btrfs would be, so they cannot be on a disk together. */
const atTheSuperblock: readonly (readonly [what: string, named: RegExp, readonly Piece[]])[] = [
  ["ReiserFS 3.6", /ReiserFS/, [textAt(64 * KiB + 52, "ReIsEr2Fs")]],
  ["ReiserFS 3.6 with its journal elsewhere", /ReiserFS/, [textAt(64 * KiB + 52, "ReIsEr3Fs")]],
  ["Reiser4", /Reiser4/, [textAt(64 * KiB, "ReIsEr4")]],
  ["GFS2", /GFS2/, [hexAt(64 * KiB, "01 16 19 70 00 00 00 01")]],
];

describe("somebody else's disk is refused by name", () => {
  test.each([...signatures, ...atTheEnd, ...atTheSuperblock])("%s", (_what, named, pieces) => {
    expect(verdictOf(GiB, ...pieces)).toMatchObject({
      kind: "foreign",
      name: expect.stringMatching(named),
    });
  });
});

describe("also over a valid Btrfs, whose superblock it leaves alone", () => {
  test.each(signatures)("%s", (_what, named, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB), ...pieces)).toMatchObject({
      kind: "foreign",
      name: expect.stringMatching(named),
    });
  });
});

describe("at the end of a valid Btrfs, where any user of a container may write", () => {
  test.each(atTheEnd)(
    "%s beyond the filesystem's end is refused, and the Btrfs named",
    (_what, named, pieces) => {
      const verdict = verdictOf(GiB, ...copiesOf(GiB, { deviceBytes: GiB - 128 * KiB }), ...pieces);
      expect(verdict).toMatchObject({
        kind: "foreign",
        name: expect.stringMatching(named),
        superblock: { deviceBytes: BigInt(GiB - 128 * KiB) },
      });
    },
  );

  test.each(atTheEnd)("%s inside the filesystem is a file's content", (_what, _named, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB), ...pieces).kind).toBe("btrfs");
    const nearly = copiesOf(GiB, { deviceBytes: GiB - 512 });
    const isInside = pieces.every(([place]) => place < GiB - 512);
    if (isInside) expect(verdictOf(GiB, ...nearly, ...pieces).kind).toBe("btrfs");
  });

  test.each(atTheEnd)(
    "%s is a file's content too where the damaged primary names a mirror",
    (_what, named, pieces) => {
      const damaged = (deviceBytes: number): readonly Piece[] => {
        const [[at, block] = [0, new Uint8Array()], ...mirrors] = copiesOf(GiB, { deviceBytes });
        return [[at, flipped(block, 1000)], ...mirrors];
      };
      expect(verdictOf(GiB, ...damaged(GiB), ...pieces).kind).toBe("damaged");
      expect(verdictOf(GiB, ...damaged(GiB - 128 * KiB), ...pieces)).toMatchObject({
        kind: "foreign",
        name: expect.stringMatching(named),
        superblock: null,
      });
    },
  );

  test.each(atTheEnd)(
    "%s is a file's content too where the primary was wiped",
    (_what, _named, pieces) => {
      const [[at, block] = [0, new Uint8Array()], ...mirrors] = copiesOf(GiB);
      expect(verdictOf(GiB, [at, filled(block, 64, 8)], ...mirrors, ...pieces).kind).toBe("wiped");
    },
  );

  test.each(atTheEnd)(
    "%s is a file's content too where the primary names nobody, but a mirror is intact",
    (_what, _named, pieces) => {
      const [[at] = [0], ...mirrors] = copiesOf(GiB);
      expect(verdictOf(GiB, [at, new Uint8Array(4096)], ...mirrors, ...pieces).kind).toBe(
        "ambiguous",
      );
    },
  );

  test("no byte is read that a file may hold", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 256 * MiB, max: 8 * TiB }),
        fc.integer({ min: 0, max: MiB }),
        (size, rest) => {
          const claimed = size - rest;
          const disk = sparseDisk({
            sizeBytes: size,
            pieces: copiesOf(size, { deviceBytes: claimed }),
          });
          judge(disk, null);
          glance(disk);
          const isFile = ([start, end]: readonly [number, number]): boolean =>
            start < end &&
            start < claimed &&
            end > MiB &&
            ![64 * MiB, 256 * GiB].some((mirror) => start >= mirror && end <= mirror + 64 * KiB);
          expect(disk.reads.filter(isFile)).toEqual([]);
        },
      ),
    );
  });
});

describe("a filesystem made over an old Btrfs is not repaired away", () => {
  const mirrors = copiesOf(GiB).slice(1);
  test.each(atTheSuperblock)("%s", (_what, _named, pieces) => {
    expect(verdictOf(GiB, ...mirrors, ...pieces).kind).toBe("foreign");
  });
});

describe("marks at the end are found on a disk of any size", () => {
  // drivers/md/md.c: super_1_load (8 KiB from the end, down to 4 KiB), MD_NEW_SIZE_SECTORS (64 KiB).
  const cases: readonly (readonly [size: number, md10: number, md090: number])[] = [
    [GiB, GiB - 8192, GiB - 65_536],
    [GiB + 512, GiB - 8192, GiB - 65_536],
    [GiB + 4096, GiB - 4096, GiB - 65_536],
    [GiB + 65_536 - 512, GiB + 65_536 - 12_288, GiB - 65_536],
    [100 * MiB + 4608, 100 * MiB - 4096, 100 * MiB - 65_536],
  ];
  test.each(cases)("%i bytes", (size, md10, md090) => {
    const sector = Math.floor(size / 512) * 512;
    expect(verdictOf(size, hexAt(md10, mdMagic))).toMatchObject({ name: "md RAID member (1.0)" });
    expect(verdictOf(size, hexAt(md090, mdMagic))).toMatchObject({ name: "md RAID member (0.90)" });
    expect(verdictOf(size, textAt(sector - 512, "EFI PART"))).toMatchObject({ kind: "foreign" });
  });
});

describe("what only looks foreign", () => {
  const sound = copiesOf(GiB);
  const cases: readonly (readonly [what: string, readonly Piece[]])[] = [
    ["a boot sector's mark over an empty table", [hexAt(510, "55 aa")]],
    ["a used entry without the mark", [hexAt(450, "83")]],
    [
      "ext4's mark with an absurd block size",
      [hexAt(1024 + 0x38, "53 ef"), hexAt(1024 + 0x18, "07")],
    ],
    ["the short magic of Minix 1 and no bitmap", [hexAt(1024 + 16, "8f 13")]],
    ["a Sun label whose sum is wrong", [hexAt(508, "da be")]],
    ["a magic one byte off its place", [textAt(1, "XFSB")]],
    ["half a magic", [textAt(0, "XFS")]],
    ["a GPT's mark where no table is", [textAt(1024, "EFI PART")]],
    ["HFS+'s two letters without a version", [textAt(1024, "H+")]],
    ["md's magic in the middle of the disk", [hexAt(GiB / 2, mdMagic)]],
    ["another filesystem's magic in the data", [bytesAt(2 * MiB, ascii("XFSB"))]],
  ];
  test.each(cases)("%s: the Btrfs stays a Btrfs", (_what, pieces) => {
    expect(verdictOf(GiB, ...sound, ...pieces).kind).toBe("btrfs");
  });
  test.each(cases)("%s, and no Btrfs: unknown, never blank", (_what, pieces) => {
    expect(verdictOf(GiB, ...pieces).kind).toBe("unknown");
  });
});
