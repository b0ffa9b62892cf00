import { describe, expect, test } from "bun:test";
import { encodeIntent, intentOffset } from "../../src/volume/intent.ts";
import { glance } from "../../src/volume/verdict.ts";
import { ascii, GiB, KiB, MiB, type Piece, sparseDisk } from "./support/sparse-disk.ts";
import { copyAt, flipped, mirrorPlace, primaryPlace, superblock } from "./support/superblock.ts";

const seen = (pieces: readonly Piece[], sizeBytes = GiB) =>
  glance(sparseDisk({ sizeBytes, pieces }));

test("a warm boot believes a sound primary at a glance", () => {
  expect(seen([copyAt(primaryPlace)])?.generation).toBe(6n);
});

test("the checksum is left to the kernel, which computes it at mount", () => {
  expect(seen([[primaryPlace, flipped(superblock(), 1000)]])).not.toBeNull();
});

test("four small reads are enough", () => {
  const disk = sparseDisk({ sizeBytes: GiB, pieces: [copyAt(primaryPlace)] });
  glance(disk);
  const bytes = disk.reads.reduce((sum, [start, end]) => sum + end - start, 0);
  expect(bytes).toBeLessThan(84 * KiB);
  expect(disk.reads.length).toBeLessThanOrEqual(4);
});

describe("a glance is not enough", () => {
  const cases: readonly (readonly [when: string, readonly Piece[]])[] = [
    ["without the magic", [copyAt(primaryPlace, { magic: "\0\0\0\0\0\0\0\0" })]],
    ["with mkfs's temporary magic", [copyAt(primaryPlace, { magic: "!BHRfS_M" })]],
    ["with the address of a mirror", [[primaryPlace, superblock({ address: mirrorPlace })]]],
    ["with two devices", [copyAt(primaryPlace, { deviceCount: 2 })]],
    ["on a disk that shrank by a sector", [copyAt(primaryPlace, { deviceBytes: GiB + 512 })]],
    ["under a GPT", [copyAt(primaryPlace), [512, ascii("EFI PART")]]],
    [
      "under a backup GPT beyond its end",
      [copyAt(primaryPlace, { deviceBytes: GiB - MiB }), [GiB - 512, ascii("EFI PART")]],
    ],
    [
      "beside an intent record",
      [copyAt(primaryPlace), [intentOffset, encodeIntent(GiB, new Uint8Array(16))]],
    ],
    ["on a blank disk", []],
  ];
  test.each(cases)("%s", (_when, pieces) => {
    expect(seen(pieces)).toBeNull();
  });

  test.each([0, 512, 64 * KiB, 68 * KiB - 1])("on a disk of %i bytes", (sizeBytes) => {
    expect(seen([copyAt(primaryPlace, { deviceBytes: 0 })], sizeBytes)).toBeNull();
  });

  test("where it cannot read: the error is the caller's", () => {
    const disk = sparseDisk({ sizeBytes: GiB, unreadable: [[0, 1]] });
    expect(() => glance(disk)).toThrow("EIO");
  });
});
