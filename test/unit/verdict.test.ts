import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeIntent, intentOffset, leastIntentDeviceBytes } from "../../src/volume/intent.ts";
import { judge, type Verdict } from "../../src/volume/verdict.ts";
import {
  ascii,
  GiB,
  hexBytes,
  KiB,
  MiB,
  oneByte,
  type Piece,
  type Range,
  sparseDisk,
  TiB,
} from "./support/sparse-disk.ts";
import {
  copiesOf,
  copyAt,
  field,
  filled,
  flipped,
  lastMirrorPlace,
  mirrorPlace,
  primaryPlace,
  seal,
  superblock,
} from "./support/superblock.ts";

type Kind = Verdict["kind"];

const disk = (sizeBytes: number, ...pieces: readonly Piece[]) => sparseDisk({ sizeBytes, pieces });
const kindOf = (sizeBytes: number, ...pieces: readonly Piece[]): Kind =>
  judge(disk(sizeBytes, ...pieces), null).kind;

const primary = copyAt(primaryPlace);
const mirror = copyAt(mirrorPlace);
/** The primary with these bytes instead of its own. */
const primaryOf = (block: Uint8Array): Piece => [primaryPlace, block];
const sound = primary[1];
const flippedPrimary = primaryOf(flipped(sound, 1000));
const zeroPrimary = primaryOf(new Uint8Array(4096));
const garbage = primaryOf(new Uint8Array(4096).fill(0x77));
const wipedPrimary = primaryOf(filled(sound, field.magic, 8));
const gpt: Piece = [512, ascii("EFI PART")];
const intent = (recordedBytes: number): Piece => [
  intentOffset,
  encodeIntent(recordedBytes, new Uint8Array(16).fill(7)),
];

describe("the decisions in the order of the contract, each with what would be decided after it", () => {
  const hopelessOn1GiB = [primaryOf(flipped(sound, 1000))];
  const cases: readonly (readonly [what: string, Kind, readonly Piece[]])[] = [
    ["GPT over a valid Btrfs", "foreign", [primary, mirror, gpt]],
    ["GPT over a damaged Btrfs", "foreign", [flippedPrimary, mirror, gpt]],
    ["GPT over a wiped Btrfs", "foreign", [wipedPrimary, mirror, gpt]],
    ["GPT and an intent record", "foreign", [gpt, intent(GiB)]],
    ["GPT on an empty disk", "foreign", [gpt]],
    ["sound, both copies", "btrfs", [primary, mirror]],
    ["sound, the mirror gone", "btrfs", [primary]],
    [
      "sound, the mirror of another filesystem",
      "btrfs",
      [primary, copyAt(mirrorPlace, { fsid: 1 })],
    ],
    ["sound, and a left-over intent record", "btrfs", [primary, mirror, intent(GiB)]],
    [
      "sound, and bytes in front of it that nobody knows",
      "btrfs",
      [primary, mirror, oneByte(40_000)],
    ],
    ["two devices", "multi-device", [copyAt(primaryPlace, { deviceCount: 2 })]],
    [
      "two devices, and larger than the disk",
      "multi-device",
      [copyAt(primaryPlace, { deviceCount: 2, deviceBytes: 2 * GiB })],
    ],
    ["larger than the disk", "shrunk", [copyAt(primaryPlace, { deviceBytes: GiB + 512 })]],
    ["larger than the disk by a byte", "shrunk", [copyAt(primaryPlace, { deviceBytes: GiB + 1 })]],
    ["smaller than the disk", "btrfs", [copyAt(primaryPlace, { deviceBytes: GiB - 4096 })]],
    ["only the magic zeroed", "wiped", [wipedPrimary, mirror]],
    ["only the magic zeroed, no mirror", "wiped", [wipedPrimary]],
    ["only the magic zeroed, an intent record", "wiped", [wipedPrimary, intent(GiB)]],
    [
      "the magic zeroed and a byte flipped",
      "damaged",
      [primaryOf(flipped(filled(sound, field.magic, 8), 1000)), mirror],
    ],
    [
      "all of the magic but its last byte zeroed",
      "damaged",
      [primaryOf(filled(sound, field.magic, 7)), mirror],
    ],
    ["one byte flipped", "damaged", [flippedPrimary, mirror]],
    ["one byte flipped, an intent record", "damaged", [flippedPrimary, mirror, intent(GiB)]],
    ["sector zeroed: nobody says whose mirror it is", "ambiguous", [zeroPrimary, mirror]],
    ["sector zeroed, an intent record", "ambiguous", [zeroPrimary, mirror, intent(GiB)]],
    ["the mirror copied to 64 KiB as it is", "damaged", [primaryOf(mirror[1]), mirror]],
    [
      "fsid destroyed, the device's entry legible",
      "damaged",
      [primaryOf(filled(sound, field.fsid, 16, 0xee)), mirror],
    ],
    [
      "the device's entry destroyed, fsid legible",
      "damaged",
      [primaryOf(filled(sound, field.deviceItem, 98, 0xee)), mirror],
    ],
    [
      "both fsids destroyed",
      "ambiguous",
      [primaryOf(filled(filled(sound, field.fsid, 16, 0xee), field.deviceFsid, 16, 0xee)), mirror],
    ],
    ["full of something unknown, a mirror", "ambiguous", [garbage, mirror]],
    [
      "full of something unknown, a mirror, an intent record",
      "ambiguous",
      [garbage, mirror, intent(GiB)],
    ],
    [
      "one byte flipped, and a byte in the first 64 KiB",
      "ambiguous",
      [flippedPrimary, mirror, oneByte(40_000)],
    ],
    [
      "sector zeroed, and the first byte of the disk set",
      "ambiguous",
      [zeroPrimary, mirror, oneByte(0)],
    ],
    [
      "sector zeroed, and the last byte before it set",
      "ambiguous",
      [zeroPrimary, mirror, oneByte(primaryPlace - 1)],
    ],
    [
      "one byte flipped, the mirror of another filesystem",
      "ambiguous",
      [flippedPrimary, copyAt(mirrorPlace, { fsid: 1, deviceUuid: 2 })],
    ],
    ["no valid copy, an intent record", "interrupted", [...hopelessOn1GiB, intent(GiB)]],
    [
      "mkfs killed: its temporary magic, an intent record",
      "interrupted",
      [copyAt(primaryPlace, { magic: "!BHRfS_M" }), intent(GiB)],
    ],
    ["nothing but an intent record", "interrupted", [intent(GiB)]],
    [
      "an intent record, and what else mkfs left",
      "interrupted",
      [oneByte(MiB + 5), oneByte(37 * MiB + 5), oneByte((37 + 51) * MiB + 200_000), intent(GiB)],
    ],
    [
      "an intent record of a smaller disk, and what mkfs left on it",
      "interrupted",
      [oneByte(5 * MiB), oneByte(69 * MiB + 5), intent(256 * MiB)],
    ],
    ["an intent record, and a byte in front", "unknown", [oneByte(1_000_000), intent(GiB)]],
    ["an intent record, and a byte between", "unknown", [oneByte(3 * MiB), intent(GiB)]],
    ["an intent record, and a byte at the end", "unknown", [oneByte(GiB - 1), intent(GiB)]],
    [
      "an intent record, and a byte in a sample",
      "unknown",
      [oneByte(GiB / 2 + 2 * MiB), intent(GiB)],
    ],
    [
      "mkfs's temporary magic and an intent record, and a byte at the end",
      "hopeless",
      [copyAt(primaryPlace, { magic: "!BHRfS_M" }), oneByte(GiB - 1), intent(GiB)],
    ],
    ["one byte flipped, no mirror", "hopeless", hopelessOn1GiB],
    ["the magic alone", "hopeless", [[primaryPlace + field.magic, ascii("_BHRfS_M")]]],
    ["the temporary magic alone", "hopeless", [[primaryPlace + field.magic, ascii("!BHRfS_M")]]],
    [
      "the magic alone, in the mirror's place",
      "hopeless",
      [[mirrorPlace + field.magic, ascii("_BHRfS_M")]],
    ],
    [
      "both copies with a flipped byte",
      "hopeless",
      [flippedPrimary, [mirrorPlace, flipped(mirror[1], 2000)]],
    ],
    [
      "a checksum type that does not exist",
      "hopeless",
      [copyAt(primaryPlace, { checksumType: 9 }), copyAt(mirrorPlace, { checksumType: 9 })],
    ],
    ["an intent record for a larger disk", "unknown", [intent(GiB + 4096)]],
    ["an intent record in the middle, where it once was", "unknown", [[GiB / 2, intent(GiB)[1]]]],
    ["zeros", "blank", []],
    ["a byte", "unknown", [oneByte(1_000_000)]],
  ];
  test.each(cases)("%s: %s", (_what, kind, pieces) => {
    expect(kindOf(GiB, ...pieces)).toBe(kind);
  });
});

describe("a damaged superblock is rebuilt only from the mirror that is beyond doubt its own", () => {
  const size = 512 * GiB;
  const ours = { fsid: 0xf5, deviceUuid: 0xd1, deviceBytes: size };
  const theirs = { fsid: 0x0a, deviceUuid: 0x0b, deviceBytes: size };
  const legible = primaryOf(flipped(superblock(ours), 1000));
  const cases: readonly (readonly [
    what: string,
    Kind,
    generation: number,
    readonly [Piece, Piece, Piece],
  ])[] = [
    [
      "both are its own: the newer one",
      "damaged",
      9,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 9 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 8 }),
      ],
    ],
    [
      "both are its own: the newer one, the other way round",
      "damaged",
      9,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 8 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 9 }),
      ],
    ],
    [
      "a newer stale one of another filesystem is left out",
      "damaged",
      5,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 5 }),
        copyAt(lastMirrorPlace, { ...theirs, generation: 99 }),
      ],
    ],
    [
      "the stale one in the first mirror's place is left out",
      "damaged",
      5,
      [
        legible,
        copyAt(mirrorPlace, { ...theirs, generation: 99 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 5 }),
      ],
    ],
    [
      "a zeroed primary names none of two: the one that every mkfs writes, only when asked",
      "ambiguous",
      5,
      [
        zeroPrimary,
        copyAt(mirrorPlace, { ...ours, generation: 5 }),
        copyAt(lastMirrorPlace, { ...theirs, generation: 99 }),
      ],
    ],
    [
      "a zeroed primary, both agree: only when asked",
      "ambiguous",
      6,
      [
        zeroPrimary,
        copyAt(mirrorPlace, { ...ours, generation: 6 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 5 }),
      ],
    ],
    [
      "a zeroed primary, one filesystem but two devices of it",
      "ambiguous",
      6,
      [
        zeroPrimary,
        copyAt(mirrorPlace, { ...ours, generation: 6 }),
        copyAt(lastMirrorPlace, { ...ours, deviceUuid: 3, generation: 5 }),
      ],
    ],
    [
      "a legible primary, two devices of its filesystem",
      "ambiguous",
      6,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 6 }),
        copyAt(lastMirrorPlace, { ...ours, deviceUuid: 3, generation: 5 }),
      ],
    ],
    [
      "the mirror is older than the commit before the damaged block's",
      "ambiguous",
      3,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 3 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 2 }),
      ],
    ],
    [
      "the mirror is one commit behind: that was under way",
      "damaged",
      5,
      [
        legible,
        copyAt(mirrorPlace, { ...ours, generation: 5 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 2 }),
      ],
    ],
    [
      "the only intact mirror lies beyond the end of the filesystem, which was larger",
      "ambiguous",
      5,
      [
        primaryOf(flipped(superblock({ ...ours, deviceBytes: 200 * GiB }), 1000)),
        [mirrorPlace, flipped(superblock(ours), 77)],
        copyAt(lastMirrorPlace, { ...ours, generation: 5 }),
      ],
    ],
    [
      "only the last mirror is intact",
      "damaged",
      7,
      [
        legible,
        [mirrorPlace, flipped(superblock(ours), 77)],
        copyAt(lastMirrorPlace, { ...ours, generation: 7 }),
      ],
    ],
    [
      "a generation with its top bit set is the newest",
      "ambiguous",
      2 ** 63,
      [
        garbage,
        copyAt(mirrorPlace, { ...ours, generation: 1 }),
        copyAt(lastMirrorPlace, { ...ours, generation: 2 ** 63 }),
      ],
    ],
  ];
  test.each(cases)("%s", (_what, kind, generation, pieces) => {
    const verdict = judge(disk(size, ...pieces), null);
    expect(verdict).toMatchObject({ kind, mirror: { generation: BigInt(generation) } });
  });

  test("a mirror of a multi-device Btrfs makes no data volume", () => {
    const parts = { deviceCount: 2 };
    expect(kindOf(GiB, flippedPrimary, copyAt(mirrorPlace, parts))).toBe("multi-device");
  });

  test("a mirror of a larger filesystem shows that the disk was shrunk", () => {
    const parts = { deviceBytes: GiB + 512 };
    expect(kindOf(GiB, flippedPrimary, copyAt(mirrorPlace, parts))).toBe("shrunk");
  });

  test("a mirror counts only where this disk has its place", () => {
    const copy: Piece = [mirrorPlace, superblock({ address: mirrorPlace, deviceBytes: 64 * MiB })];
    expect(kindOf(mirrorPlace + 4096, flippedPrimary, copy)).not.toBe("damaged");
    expect(kindOf(mirrorPlace + 4608, flippedPrimary, copy)).toBe("damaged");
  });

  test("the wrong block and the mirror are handed on as they were read", () => {
    const verdict = judge(disk(GiB, flippedPrimary, mirror), null);
    if (verdict.kind !== "damaged") throw new Error(verdict.kind);
    expect(verdict.primary.block).toEqual(flippedPrimary[1]);
    expect(verdict.mirror.block).toEqual(mirror[1]);
  });

  test("what a wipe took is put back, and nothing else", () => {
    const verdict = judge(disk(GiB, wipedPrimary), null);
    if (verdict.kind !== "wiped") throw new Error(verdict.kind);
    expect(verdict.primary.block).toEqual(wipedPrimary[1]);
    expect(verdict.mirror.block).toEqual(sound);
  });
});

describe("whichever byte of the primary is flipped, the disk is Btrfs", () => {
  /** 4096 verdicts take seconds on a slow machine. */
  const loopLimitMs = 60_000;
  /** btrfs_super_block.csum has 32 bytes, of which a crc32c fills 4. */
  const isPadding = (offset: number): boolean => offset >= 4 && offset < 32;

  test(
    "with a mirror: damaged, or sound where the byte means nothing",
    () => {
      const wrong: string[] = [];
      for (let offset = 0; offset < 4096; offset++) {
        const kind = kindOf(GiB, primaryOf(flipped(sound, offset)), mirror);
        if (kind !== (isPadding(offset) ? "btrfs" : "damaged")) wrong.push(`${offset}: ${kind}`);
      }
      expect(wrong).toEqual([]);
    },
    loopLimitMs,
  );

  test(
    "by one bit, beside a left-over intent record: the same, never a format to be finished",
    () => {
      const wrong: string[] = [];
      for (let offset = 0; offset < 4096; offset++) {
        const block = flipped(sound, offset, 1 << (offset % 8));
        const kind = kindOf(GiB, primaryOf(block), mirror, intent(GiB));
        if (kind !== (isPadding(offset) ? "btrfs" : "damaged")) wrong.push(`${offset}: ${kind}`);
      }
      expect(wrong).toEqual([]);
    },
    loopLimitMs,
  );

  test(
    "without a mirror: hopeless, or unknown where the byte is of the magic",
    () => {
      const wrong: string[] = [];
      const isMagic = (offset: number): boolean => offset >= 64 && offset < 72;
      for (let offset = 0; offset < 4096; offset++) {
        const kind = kindOf(GiB, primaryOf(flipped(sound, offset)));
        const right = isPadding(offset) ? "btrfs" : isMagic(offset) ? "unknown" : "hopeless";
        if (kind !== right) wrong.push(`${offset}: ${kind}`);
      }
      expect(wrong).toEqual([]);
    },
    loopLimitMs,
  );
});

describe("a read error is never taken for a blank disk", () => {
  const disks: readonly (readonly [what: string, Kind, readonly Piece[]])[] = [
    ["blank", "blank", []],
    ["unknown", "unknown", [oneByte(GiB - 1)]],
    ["hopeless", "hopeless", [flippedPrimary]],
    ["interrupted", "interrupted", [flippedPrimary, intent(GiB)]],
    ["ambiguous", "ambiguous", [garbage, mirror]],
    ["damaged", "damaged", [flippedPrimary, mirror]],
    ["wiped", "wiped", [wipedPrimary]],
    ["shrunk", "shrunk", [copyAt(primaryPlace, { deviceBytes: 2 * GiB })]],
    ["btrfs", "btrfs", [primary, mirror]],
  ];
  test.each(disks)(
    "wherever the verdict %s was read from, an error there is its end",
    (_what, kind, pieces) => {
      const whole = disk(GiB, ...pieces);
      expect(judge(whole, null).kind).toBe(kind);
      for (const range of whole.reads.filter(([start, end]) => end > start)) {
        const broken = sparseDisk({ sizeBytes: GiB, pieces, unreadable: [range] });
        expect(judge(broken, null)).toMatchObject({ kind: "unreadable", cause: { errno: 5 } });
      }
    },
  );

  const needed: readonly (readonly [what: string, Range, readonly Piece[]])[] = [
    ["the partition table's place", [0, 512], []],
    ["the first sector, over a valid Btrfs", [0, 512], [primary, mirror]],
    ["the primary's own sector", [primaryPlace, primaryPlace + 512], [primary, mirror]],
    ["the last sector of the primary", [primaryPlace + 3584, primaryPlace + 4096], [primary]],
    ["the mirror, of a zeroed primary", [mirrorPlace, mirrorPlace + 512], [zeroPrimary]],
    [
      "the mirror, of a damaged primary",
      [mirrorPlace + 3584, mirrorPlace + 4096],
      [flippedPrimary],
    ],
    ["the mirror, of zeros", [mirrorPlace, mirrorPlace + 1], []],
    ["the intent record's place", [intentOffset, intentOffset + 1], []],
    ["the last sector", [GiB - 512, GiB], []],
    [
      "the last sector, beyond the end of a valid Btrfs",
      [GiB - 512, GiB],
      [copyAt(primaryPlace, { deviceBytes: GiB - 4096 })],
    ],
    ["the end of the first 2 MiB", [2 * MiB - 1, 2 * MiB], []],
    ["the start of the last 1 MiB", [GiB - MiB, GiB - MiB + 1], []],
    ["ext4's backup superblock", [128 * MiB, 128 * MiB + 1], []],
    ["XFS's backup superblock", [GiB / 4, GiB / 4 + 1], []],
  ];
  test.each(needed)("an error at %s makes the disk unreadable", (_what, range, pieces) => {
    const broken = sparseDisk({ sizeBytes: GiB, pieces, unreadable: [range] });
    expect(judge(broken, null).kind).toBe("unreadable");
  });

  const needless: readonly (readonly [what: string, Range, Kind, readonly Piece[]])[] = [
    ["the mirror, of a sound primary", [mirrorPlace, mirrorPlace + 4096], "btrfs", [primary]],
    ["the middle, of a sound primary", [GiB / 2, GiB / 2 + 4096], "btrfs", [primary]],
    ["the mirror, of a wiped primary", [mirrorPlace, mirrorPlace + 4096], "wiped", [wipedPrimary]],
    [
      "the middle, of a damaged primary",
      [GiB / 2, GiB / 2 + 4096],
      "damaged",
      [flippedPrimary, mirror],
    ],
    ["the primary, of a GPT", [GiB - 512, GiB], "foreign", [gpt]],
    ["a filesystem's own blocks", [GiB / 4, GiB - MiB], "btrfs", [primary, mirror]],
  ];
  test.each(needless)("an error at %s changes nothing", (_what, range, kind, pieces) => {
    const broken = sparseDisk({ sizeBytes: GiB, pieces, unreadable: [range] });
    expect(judge(broken, null).kind).toBe(kind);
  });

  test("a fault of the program is not passed off as one of the disk", () => {
    const faulty = {
      ...disk(GiB),
      read: () => {
        throw new TypeError("a bug");
      },
    };
    expect(() => judge(faulty, null)).toThrow(TypeError);
  });
});

test("a mounted disk is not read at all, whatever is on it", () => {
  const torn = disk(GiB, garbage, gpt);
  expect(judge(torn, "f5f5")).toEqual({ kind: "mounted", uuid: "f5f5" });
  expect(torn.reads).toEqual([]);
});

describe("a disk of any size is judged", () => {
  const sizes = [
    0,
    1,
    511,
    512,
    513,
    4095,
    4096,
    65_536,
    68 * KiB - 1,
    68 * KiB,
    100 * KiB,
    1_000_001,
  ];
  const larger = [2 * MiB - 512, 3 * MiB, 3 * MiB + 512, 64 * MiB + 4096, 64 * MiB + 4608];
  const huge = [GiB + 512, 256 * GiB + 4096, 256 * GiB + 8192, 8 * TiB, 8 * TiB - 512];
  const all = [...sizes, ...larger, ...huge];
  test.each(all)("%i bytes of zeros are blank", (size) => {
    expect(kindOf(size)).toBe("blank");
  });

  test.each(all.filter((size) => size > 0))(
    "%i bytes: the first and the last one count",
    (size) => {
      expect(judge(disk(size, oneByte(0)), null)).toEqual({ kind: "unknown", offset: 0 });
      expect(judge(disk(size, oneByte(size - 1)), null)).toEqual({
        kind: "unknown",
        offset: size - 1,
      });
    },
  );

  test.each(all.filter((size) => size > 68 * KiB))("%i bytes with a Btrfs are a Btrfs", (size) => {
    expect(kindOf(size, ...copiesOf(size))).toBe("btrfs");
    expect(kindOf(size, ...copiesOf(size, { deviceBytes: size + 1 }))).toBe("shrunk");
  });

  test.each(all.filter((size) => size >= leastIntentDeviceBytes))(
    "%i bytes: an intent record is found",
    (size) => {
      expect(kindOf(size, intent(size))).toBe("interrupted");
    },
  );

  test("an 8 TiB disk is judged blank in a moment, from a few thousandths of it", () => {
    const blank = disk(8 * TiB);
    judge(blank, null);
    const bytes = blank.reads.reduce((sum, [start, end]) => sum + end - start, 0);
    expect(bytes).toBeLessThan(16 * MiB);
  });
});

describe("an image file is blank only when all of it is zero", () => {
  const image = (pieces: readonly Piece[], dataRanges: readonly Range[]) =>
    judge(sparseDisk({ sizeBytes: GiB, pieces, dataRanges }), null);

  test("one without data is blank", () => {
    expect(image([], [])).toEqual({ kind: "blank" });
  });

  test("zeros that were written are still zeros", () => {
    expect(image([], [[700 * MiB, 702 * MiB]])).toEqual({ kind: "blank" });
  });

  test("one byte at a place that no sample meets is found", () => {
    const place = 700 * MiB + 12_345;
    expect(kindOf(GiB, oneByte(place))).toBe("blank");
    expect(image([oneByte(place)], [[700 * MiB, 702 * MiB]])).toEqual({
      kind: "unknown",
      offset: place,
    });
  });

  test("a read error in its data is never blank", () => {
    const broken = sparseDisk({
      sizeBytes: GiB,
      dataRanges: [[700 * MiB, 702 * MiB]],
      unreadable: [[701 * MiB + 5, 701 * MiB + 6]],
    });
    expect(judge(broken, null).kind).toBe("unreadable");
  });
});

test("ext4 whose first 2 MiB were zeroed is not blank: its backup superblocks tell", () => {
  // struct ext4_super_block of a backup: s_log_block_size 2 at 24, s_magic at 56.
  const backup = new Uint8Array(1024);
  backup.set(hexBytes("02 00 00 00"), 24);
  backup.set(hexBytes("53 ef"), 56);
  const group = 128 * MiB;
  const pieces = [1, 3, 5, 7].map((number): Piece => [number * group, backup]);
  expect(judge(disk(GiB, ...pieces), null)).toEqual({ kind: "unknown", offset: group + 24 });
  // The first backup alone destroyed too.
  expect(kindOf(GiB, ...pieces.slice(1))).toBe("unknown");
});

describe("bytes that nobody planned", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const blocks = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
  const sizes = fc.oneof(
    fc.integer({ min: 0, max: 4 * MiB }),
    fc.integer({ min: 64 * MiB, max: 8 * TiB }),
  );
  const judged = (size: number, ...blockBytes: readonly Uint8Array[]): Verdict => {
    const places = [primaryPlace, mirrorPlace, lastMirrorPlace];
    return judge(disk(size, ...blockBytes.map((block, i): Piece => [places[i] ?? 0, block])), null);
  };

  test("random superblocks are judged without a throw, and never sound", () => {
    fc.assert(
      fc.property(sizes, blocks, blocks, blocks, (size, a, b, c) => {
        const { kind } = judged(size, a, b, c);
        return kind !== "btrfs" && kind !== "damaged" && kind !== "interrupted";
      }),
      { numRuns: 200 },
    );
  });

  test("random fields under a right checksum are judged without a throw", () => {
    const fields = blocks.map((block) => {
      block.set(ascii("_BHRfS_M"), field.magic);
      block.set(hexBytes("00 00 01 00 00 00 00 00"), field.address);
      block.set([0, 0], field.checksumType);
      return seal(block);
    });
    fc.assert(
      fc.property(sizes, fields, (size, block) => {
        const { kind } = judged(size, block);
        return ["btrfs", "multi-device", "shrunk", "foreign"].includes(kind) || size <= 68 * KiB;
      }),
      { numRuns: 200 },
    );
  });

  test("a byte anywhere in the first 2 MiB or the last 1 MiB is never blank", () => {
    const near = fc.oneof(
      fc.integer({ min: 0, max: 2 * MiB - 1 }),
      fc.integer({ min: 8 * TiB - MiB, max: 8 * TiB - 1 }),
    );
    fc.assert(
      fc.property(near, byte, (offset, value) => {
        const { kind } = judge(disk(8 * TiB, oneByte(offset, value)), null);
        return (kind === "blank") === (value === 0);
      }),
      { numRuns: 60 },
    );
  });

  test("a damaged run of the primary is never blank, and never formatted unasked", () => {
    const run = fc.tuple(fc.nat({ max: 4095 }), fc.integer({ min: 1, max: 4096 }), byte);
    fc.assert(
      fc.property(run, ([start, length, value]) => {
        const { kind } = judged(GiB, filled(sound, start, length, value), mirror[1]);
        return ["btrfs", "wiped", "damaged", "ambiguous"].includes(kind);
      }),
      { numRuns: 300 },
    );
  });
});
