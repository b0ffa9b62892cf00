import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mirrorOffsets, superblockBytes } from "../../src/btrfs/superblock.ts";
import { encodeIntent, hasIntent, intentBytes, intentOffset } from "../../src/volume/intent.ts";
import { GiB, KiB, MiB, type Piece, sparseDisk, TiB } from "./support/sparse-disk.ts";
import { flipped } from "./support/superblock.ts";

const id = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const found = (sizeBytes: number, ...pieces: readonly Piece[]): boolean =>
  hasIntent(sparseDisk({ sizeBytes, pieces }));

test("a record that was written is found, on a disk of any size and with any id", () => {
  const sizes = fc.integer({ min: 8 * KiB, max: 16 * TiB });
  const ids = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(sizes, ids, (size, anyId) =>
      found(size, [intentOffset(size), encodeIntent(size, anyId)]),
    ),
  );
});

test("it is one block, aligned, in the middle, and no copy of a superblock is there", () => {
  for (const size of [
    114_294_784,
    128 * MiB,
    GiB,
    GiB + 512,
    512 * GiB,
    512 * GiB + 4096,
    8 * TiB,
  ]) {
    const offset = intentOffset(size);
    expect(offset % 4096).toBe(0);
    // On 128 MiB and 512 GiB a mirror of the superblock stands in the very middle.
    const isOnMirror = mirrorOffsets.some((mirror) => Math.abs(mirror - size / 2) < MiB);
    const away = Math.abs(offset - size / 2);
    if (isOnMirror) expect(away).toBeGreaterThanOrEqual(MiB - 4096);
    else expect(away).toBeLessThanOrEqual(4096);
    for (const mirror of mirrorOffsets) {
      expect(Math.abs(offset - mirror)).toBeGreaterThanOrEqual(superblockBytes);
    }
    expect(offset + intentBytes).toBeLessThanOrEqual(size);
    expect(encodeIntent(size, id)).toHaveLength(4096);
  }
});

describe("no record is", () => {
  const offset = intentOffset(GiB);
  const record = encodeIntent(GiB, id);

  test("an empty disk, whatever its size", () => {
    for (const size of [0, 1, 512, 4096, 8192, GiB]) expect(found(size)).toBe(false);
  });

  test("one for a disk of another size, though it stands in the middle of this one", () => {
    for (const size of [GiB - 4096, GiB + 512, 2 * GiB]) {
      expect(found(GiB, [offset, encodeIntent(size, id)])).toBe(false);
    }
  });

  test("one that stands elsewhere", () => {
    for (const place of [0, 4096, offset - 4096, offset + 4096, offset + 512]) {
      expect(found(GiB, [place, record])).toBe(false);
    }
  });

  test("one with any byte of its sector flipped: its checksum tells", () => {
    const taken: number[] = [];
    for (let at = 0; at < 512; at++) if (found(GiB, [offset, flipped(record, at)])) taken.push(at);
    expect(taken).toEqual([]);
  });

  test("a torn one: any part of its sector still zero", () => {
    const meaningful = record.findLastIndex((byte) => byte !== 0) + 1;
    const taken: number[] = [];
    for (let length = 0; length < meaningful; length++) {
      if (found(GiB, [offset, record.subarray(0, length)])) taken.push(length);
    }
    expect(taken).toEqual([]);
    expect(meaningful).toBeLessThanOrEqual(512);
  });

  test("its magic alone, as a copy of this program on the disk would have it", () => {
    expect(found(GiB, [offset + 32, new TextEncoder().encode("arcbox-format-v1")])).toBe(false);
  });
});

test("a record is found again whatever stands behind its one sector", () => {
  const offset = intentOffset(GiB);
  const tail = new Uint8Array(3584).fill(0x99);
  expect(found(GiB, [offset, encodeIntent(GiB, id)], [offset + 512, tail])).toBe(true);
});

test("two formats of one disk do not have the same record", () => {
  expect(encodeIntent(GiB, id)).not.toEqual(encodeIntent(GiB, new Uint8Array(16)));
});

test("a read error there is thrown, never taken for no record", () => {
  const disk = sparseDisk({ sizeBytes: GiB, unreadable: [[GiB / 2, GiB / 2 + 512]] });
  expect(() => hasIntent(disk)).toThrow("EIO");
});
