import { describe, expect, test } from "bun:test";
import { judge } from "../../src/volume/verdict.ts";
import { ascii, GiB, KiB, MiB, type Piece, sparseDisk } from "./support/sparse-disk.ts";
import { copiesOf } from "./support/superblock.ts";

/** Headers as the makers' own programs write them: of the sample disks of util-linux (tests/ts/blkid). */

const verdictOf = (sizeBytes: number, ...pieces: readonly Piece[]) =>
  judge(sparseDisk({ sizeBytes, pieces }), null);
const textAt = (offset: number, text: string): Piece => [offset, ascii(text)];
const hexAt = (offset: number, digits: string): Piece => [
  offset,
  Uint8Array.fromHex(digits.replaceAll(/\s/g, "")),
];

type Row = readonly [what: string, named: RegExp, readonly Piece[]];

const lastSector = GiB - 512;
const sectorFromEnd = (count: number): number => GiB - count * 512;

const jmicron = hexAt(
  lastSector,
  `4a4d 0100 7bac 6ba8 0000 0000 6ce8 6ba8 f04c 0000 0000 0000 5009 0000 aef8 54c0
   7261 6964 3000 5369 7a65 0072 6f72 2900 0007 0300 58e6 6ba8 2cf4 baff f0ec 6ba8
   f04c 0000 d037 0000 9068 0000 f037 0000`,
);
const via = hexAt(
  lastSector,
  `55aa 0105 0042 0059 1c1d 0000 0000 32e0 8ef5 32e0 8ef5 32e0 a1f3 0000 0000 0000
   0000 0000 0000 0000 0000 0000 0000 0000 0000 a900`,
);

/** struct silicon_metadata with this number of the disk and the checksum that belongs to it. */
function silicon(diskNumber: number, wrong = 0): Piece {
  const sector = new Uint8Array(512);
  const view = new DataView(sector.buffer);
  sector.set(ascii("SiI Concatenation"), 0x12e - 1);
  view.setUint32(0x60, 0x2f000000, true);
  sector[0x116] = diskNumber;
  let sum = 0;
  for (let at = 0; at < 0x13e; at += 2) sum += view.getUint16(at, true);
  view.setUint16(0x13e, (-sum & 0xffff) ^ wrong, true);
  return [lastSector, sector];
}

const promisePlaces = [16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087];

const atTheEnd: readonly Row[] = [
  ["a member of Adaptec's", /Adaptec/, [hexAt(lastSector, "37fc4d1e")]],
  ["a sound member of HighPoint 45x", /HighPoint.*45x/, [hexAt(sectorFromEnd(11), "f316785a")]],
  ["a bad member of HighPoint 45x", /HighPoint.*45x/, [hexAt(sectorFromEnd(11), "fd16785a")]],
  ["a member of JMicron's", /JMicron/, [jmicron]],
  ["a member of LSI's", /LSI/, [textAt(lastSector, "$XIDE$")]],
  ["a member of NVIDIA's", /NVIDIA/, [textAt(sectorFromEnd(2), "NVIDIA  ")]],
  ["a member of Silicon Image's", /Silicon/, [silicon(1)]],
  ["a member of VIA's", /VIA/, [via]],
  ...promisePlaces.map(
    (count): Row => [
      `a member of Promise's, ${count} sectors from the end`,
      /Promise/,
      [textAt(sectorFromEnd(count), "Promise Technology, Inc.")],
    ],
  ),
  ["DDF in front of its spare", /DDF/, [hexAt(sectorFromEnd(257), "de11de11")]],
  ["DRBD 8.4, not clean", /DRBD/, [hexAt(GiB - 4096 + 60, "8374026c")]],
  ["md 0.90 of a big-endian machine", /md RAID.*0\.90/, [hexAt(GiB - 64 * KiB, "a92b4efc")]],
  [
    "ZFS whose first labels are gone",
    /ZFS/,
    [hexAt(GiB - 512 * KiB + 16 * KiB, "0101 0000 00000000 00000001")],
  ],
];

/** A boot sector of a FAT16 without a word in it, and with no heads. */
const fat = hexAt(
  0,
  "eb3c90 4d5357494e342e31 0002 08 0100 02 0002 0000 f8 d200 0000 0000 3f000000 b18d0600",
);

const inTheHead: readonly Row[] = [
  ["a member of HighPoint 37x", /HighPoint.*37x/, [hexAt(9 * 512 + 32, "f016785a")]],
  ["a bad member of HighPoint 37x", /HighPoint.*37x/, [hexAt(9 * 512 + 32, "fd16785a")]],
  ["drbdmanage", /drbdmanage/, [textAt(0, "$DRBDmgr=q0123456789abcdef\n")]],
  ["DRBD proxy", /DRBD/, [textAt(0, "DRBDdlh*")]],
  ["an Atari disk", /Atari/, [hexAt(0x1c2, "00002800 01 524157 00000002 000027fe")]],
  [
    "an Atari disk with an extended partition",
    /Atari/,
    [hexAt(0x1d2, "01 58474d 0000000d 000027f3")],
  ],
  ["a BSD disklabel", /BSD/, [hexAt(512, "57455682"), hexAt(512 + 132, "57455682")]],
  ["a BSD disklabel of Alpha", /BSD/, [hexAt(64, "57455682"), hexAt(64 + 132, "57455682")]],
  ["DASD, compatible layout", /DASD/, [hexAt(2 * 4096 + 4, "e5d6d3f1")]],
  ["DASD, Linux layout", /DASD/, [hexAt(2 * 4096, "d3d5e7f1")]],
  ["DASD of CMS, blocks of 512", /DASD/, [hexAt(2 * 512, "c3d4e2f1")]],
  ["Minix 1, big endian", /Minix/, [hexAt(1024, "0040 0064 0001 0001 0006 0000 10081c00 138f")]],
  ["cramfs, big endian", /cramfs/, [hexAt(0, "28cd3d45")]],
  [
    "FileVault2",
    /FileVault2/,
    [hexAt(0, "b9e41c8f ffffffff 0100 1000"), hexAt(88, "4353 01000000")],
  ],
  ["HFS", /HFS/, [hexAt(1024, "4244 c511af1d c511af1d 0100 0000 0003 013e 4ff6 00000200")]],
  ["a FAT without a name", /FAT/, [fat, hexAt(510, "55aa")]],
  [
    "HPFS, not the FAT that it looks like",
    /HPFS/,
    [fat, hexAt(510, "55aa"), hexAt(8192, "49e895f9 c5e953fa")],
  ],
  ["NetWare", /NetWare NSS/, [textAt(4096, "SPB5")]],
  ["mpool", /mpool/, [textAt(0, "mpoolDevmp1")]],
  ["UBIFS", /UBIFS/, [hexAt(0, "31181006")]],
  ["UFS 1", /UFS/, [hexAt(8192 + 48, "00200000 00040000"), hexAt(8192 + 1372, "54190100")]],
  [
    "UFS, big endian",
    /UFS/,
    [hexAt(8192 + 48, "00002000 00000400"), hexAt(8192 + 1372, "00011954")],
  ],
  ["VxFS of PCs", /VxFS/, [hexAt(1024, "f5fc01a5")]],
  ["VxFS of others", /VxFS/, [hexAt(8192, "a501fcf5")]],
  [
    "an XFS log",
    /XFS log/,
    [hexAt(0, "feedbabe 00000001 00000002 00000014"), hexAt(300, "00000001")],
  ],
  ["zonefs", /zonefs/, [textAt(0, "SFOZ")]],
  [
    "BeFS behind a boot sector",
    /BeFS/,
    [textAt(512 + 32, "1SFB"), ...[hexAt(510, "55aa"), hexAt(450, "83")]],
  ],
  ["LVM 1", /LVM1/, [hexAt(0, "484d 0100")]],
  ["an Apple partition map", /Apple/, [hexAt(0, "4552 0200"), textAt(512, "PM")]],
  ["an Amiga's disk", /Amiga/, [textAt(3 * 512, "RDSK")]],
  ["System V", /System V/, [hexAt(512 + 504, "207e18fd")]],
  ["ZFS of a big-endian machine", /ZFS/, [hexAt(16 * KiB, "0100 0000 00000000 00000001")]],
];

/** These stand where the superblock of Btrfs is, or where that has files. */
const elsewhere: readonly Row[] = [
  [
    "scoutfs",
    /scoutfs/,
    [hexAt(64 * KiB, "e477413c 8b423c10 936830c42012cb7c 0900000000000000 1000000000000000")],
  ],
  ["UFS 2", /UFS/, [hexAt(64 * KiB + 48, "00400000 00080000"), hexAt(64 * KiB + 1372, "19015419")]],
  [
    "UFS 2 far in",
    /UFS/,
    [hexAt(256 * KiB + 48, "00400000 00080000"), hexAt(256 * KiB + 1372, "19015419")],
  ],
  ["VMFS", /VMFS/, [hexAt(2 * MiB, "5ef1ab2f")]],
  ["a volume of VMFS", /VMFS volume/, [hexAt(MiB, "0dd001c0")]],
  [
    "an XFS log that goes on behind 64 KiB",
    /XFS log/,
    [hexAt(200 * 512, "feedbabe 00000001 00000002 00000014"), hexAt(200 * 512 + 300, "00000001")],
  ],
];

const named = (pattern: RegExp) => ({ kind: "foreign", name: expect.stringMatching(pattern) });

describe("a stranger's disk is refused by name", () => {
  test.each([...inTheHead, ...atTheEnd, ...elsewhere])("%s", (_what, pattern, pieces) => {
    expect(verdictOf(GiB, ...pieces)).toMatchObject(named(pattern));
  });
});

describe("over an intact Btrfs too, where no file of it can be", () => {
  test.each(inTheHead)("%s", (_what, pattern, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB), ...pieces)).toMatchObject(named(pattern));
  });
  test.each(atTheEnd)("%s, behind the filesystem's end", (_what, pattern, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB - 2 * MiB), ...pieces)).toMatchObject(named(pattern));
  });
  test.each(atTheEnd)("%s, in a file: the Btrfs is one", (_what, _pattern, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB), ...pieces).kind).toBe("btrfs");
  });
});

describe("where a Btrfs has files, nothing speaks against one of which a copy is left", () => {
  const behind = elsewhere.filter(([, , pieces]) => pieces.every(([offset]) => offset >= 68 * KiB));
  test.each(behind)("%s", (_what, _pattern, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB), ...pieces).kind).toBe("btrfs");
    expect(verdictOf(GiB, ...copiesOf(GiB).slice(1), ...pieces).kind).toBe("ambiguous");
  });
});

describe("what only looks like a mark is none", () => {
  const rows: readonly (readonly [what: string, readonly Piece[]])[] = [
    [
      "JMicron's letters, and a sum that is wrong",
      [textAt(lastSector, "JM"), hexAt(lastSector + 8, "01")],
    ],
    ["the mark of a boot sector at the end", [hexAt(lastSector, "55aa")]],
    ["Silicon Image's mark, and a sum that is wrong", [silicon(1, 1)]],
    ["Silicon Image's mark on a ninth disk", [silicon(8)]],
    [
      "Promise's words where no controller puts them",
      [textAt(sectorFromEnd(100), "Promise Technology, Inc.")],
    ],
    ["HFS's letters over blocks of no size", [textAt(1024, "BD")]],
    ["FileVault's letters", [textAt(88, "CS")]],
    ["a FAT's jump and mark, and nothing else", [hexAt(0, "eb3c90"), hexAt(510, "55aa")]],
    ["a FAT without its mark", [fat]],
    ["Atari's identifier of no partition", [hexAt(0x1c6, "00 524157 00000002 000027fe")]],
    ["an Atari partition of no length", [hexAt(0x1c6, "01 524157 00000002 00000000")]],
    [
      "an Atari partition of a kind that nobody knows",
      [hexAt(0x1c6, "01 585858 00000002 000027fe")],
    ],
    ["the magic of BSD once", [hexAt(512, "57455682")]],
    [
      "Minix' magic, and a bitmap too small",
      [hexAt(1024, "fffe 0064 0001 0001 0006 0000 10081c00 138f")],
    ],
    ["an XFS log without a version", [hexAt(0, "feedbabe")]],
    ["UFS' magic and blocks of no size", [hexAt(8192 + 1372, "54190100")]],
    ["LVM 1's letters", [textAt(0, "HM")]],
    ["Apple's letters and no map", [hexAt(0, "4552 0200")]],
  ];
  test.each(rows)("%s", (_what, pieces) => {
    expect(verdictOf(GiB, ...copiesOf(GiB - 2 * MiB), ...pieces).kind).toBe("btrfs");
    expect(verdictOf(GiB, ...pieces).kind).toBe("unknown");
  });
});

test("a boot loader of any bytes in front of a Btrfs is taken for nobody's disk", () => {
  // A sequence of its own, so that each run tries the same.
  let state = 1;
  const random = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const loader = new Uint32Array(16 * KiB);
  for (let run = 0; run < 300; run++) {
    for (let i = 0; i < loader.length; i++) loader[i] = random();
    const bytes = new Uint8Array(loader.slice().buffer);
    // Its table is empty, as on a disk without partitions.
    bytes.fill(0, 446, 510);
    bytes.set([0x55, 0xaa], 510);
    expect(verdictOf(GiB, ...copiesOf(GiB), [0, bytes]).kind).toBe("btrfs");
  }
});
