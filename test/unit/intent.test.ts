import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mirrorOffsets, superblockBytes } from "../../src/btrfs/superblock.ts";
import {
  encodeIntent,
  hasIntent,
  intendedBytes,
  intentBytes,
  intentOffset,
  leastIntentDeviceBytes,
} from "../../src/volume/intent.ts";
import { GiB, KiB, MiB, type Piece, sparseDisk, TiB } from "./support/sparse-disk.ts";
import { flipped } from "./support/superblock.ts";

const id = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const found = (sizeBytes: number, ...pieces: readonly Piece[]): boolean =>
  hasIntent(sparseDisk({ sizeBytes, pieces }));

test("a record that was written is found, on a disk of any size and with any id", () => {
  const sizes = fc.integer({ min: leastIntentDeviceBytes, max: 16 * TiB });
  const ids = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(sizes, ids, (size, anyId) =>
      found(size, [intentOffset, encodeIntent(size, anyId)]),
    ),
  );
});

test("a disk that has grown since tells the size that it had", () => {
  const pieces: readonly Piece[] = [[intentOffset, encodeIntent(GiB, id)]];
  expect(intendedBytes(sparseDisk({ sizeBytes: 8 * TiB, pieces }))).toBe(GiB);
});

test("it is one block among the 64 KiB that Btrfs keeps free at its first mirror, and on no copy", () => {
  const [mirror] = mirrorOffsets;
  expect(intentOffset % 4096).toBe(0);
  expect(intentOffset).toBeGreaterThanOrEqual(mirror + superblockBytes);
  expect(intentOffset + intentBytes).toBeLessThanOrEqual(mirror + 64 * KiB);
  expect(leastIntentDeviceBytes).toBeGreaterThanOrEqual(intentOffset + intentBytes);
  expect(encodeIntent(GiB, id)).toHaveLength(4096);
});

describe("no record is", () => {
  const offset = intentOffset;
  const record = encodeIntent(GiB, id);

  test("an empty disk, whatever its size", () => {
    for (const size of [0, 1, 512, 4096, 8192, GiB]) expect(found(size)).toBe(false);
  });

  test("one for a larger disk, or for one too small to have a place for it", () => {
    for (const size of [GiB + 512, 2 * GiB, 64 * MiB, 0, 2 ** 63]) {
      expect(found(GiB, [offset, encodeIntent(size, id)])).toBe(false);
    }
  });

  test("one that stands elsewhere", () => {
    for (const place of [0, 4096, GiB / 2, offset - 4096, offset + 4096, offset + 512]) {
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
  const offset = intentOffset;
  const tail = new Uint8Array(3584).fill(0x99);
  expect(found(GiB, [offset, encodeIntent(GiB, id)], [offset + 512, tail])).toBe(true);
});

test("two formats of one disk do not have the same record", () => {
  expect(encodeIntent(GiB, id)).not.toEqual(encodeIntent(GiB, new Uint8Array(16)));
});

test("a read error there is thrown, never taken for no record", () => {
  const disk = sparseDisk({ sizeBytes: GiB, unreadable: [[intentOffset, intentOffset + 512]] });
  expect(() => hasIntent(disk)).toThrow("EIO");
});
