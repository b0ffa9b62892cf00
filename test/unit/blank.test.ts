import { describe, expect, test } from "bun:test";
import { firstNonZero } from "../../src/volume/blank.ts";
import { GiB, KiB, MiB, oneByte, sparseDisk, TiB } from "./support/sparse-disk.ts";

const found = (sizeBytes: number, ...offsets: readonly number[]): number | null =>
  firstNonZero(sparseDisk({ sizeBytes, pieces: offsets.map((offset) => oneByte(offset)) }));

/** The places that the contract names, worked out from each filesystem's own layout. */
function promisedPlaces(size: number): (readonly [why: string, offset: number])[] {
  const places: (readonly [string, number])[] = [
    ["the first byte", 0],
    ["the end of the first 2 MiB", 2 * MiB - 1],
    ["the start of the last 1 MiB", size - MiB],
    ["the last byte", size - 1],
    ["the mirror at 64 MiB", 64 * MiB + 64],
    ["the mirror at 256 GiB", 256 * GiB + 64],
  ];
  // ext4's magic stands at byte 56 of each copy; with 4 KiB blocks a group has 128 MiB.
  for (const group of [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729, 2187, 2401, 3125]) {
    places.push([`ext4, group ${group}`, group * 128 * MiB + 56]);
    places.push([`ext4 of 1 KiB blocks, group ${group}`, (group * 8192 + 1) * KiB + 56]);
  }
  // mkfs.xfs makes 4 groups on a plain disk, of 1 TiB at most.
  const groupBytes = Math.min(Math.floor(size / 4 / 4096) * 4096, TiB);
  for (let i = 1; i * groupBytes < size; i++) places.push([`XFS, group ${i}`, i * groupBytes]);
  for (let i = 0; i < 256; i++) {
    const middle = ((i + 0.5) * size) / 256;
    places.push([`sample ${i}`, Math.floor(middle / 4096) * 4096 + 4095]);
  }
  return places.filter(([, offset]) => offset < size);
}

describe.each([128 * MiB, GiB, GiB + 512, 100 * GiB, 300 * GiB, 8 * TiB, 8 * TiB - 512])(
  "a disk of %i bytes is not blank",
  (size) => {
    test("when there is one byte at any place where a filesystem leaves a trace", () => {
      const missed = promisedPlaces(size).filter(([, offset]) => found(size, offset) !== offset);
      expect(missed).toEqual([]);
    });
  },
);

test("the first byte found is the one that is named", () => {
  expect(found(GiB, 900, 70_000)).toBe(900);
  expect(found(GiB, 70_000, 2 * MiB - 1)).toBe(70_000);
  expect(found(GiB, MiB, GiB - 1)).toBe(MiB);
});

test("a byte is named at the edges of what is read and of what is compared at once", () => {
  const edges = [64 * KiB, 256 * KiB, 512 * KiB, MiB].flatMap((edge) => [edge - 1, edge, edge + 1]);
  for (const offset of edges) {
    expect(found(GiB, offset)).toBe(offset);
    expect(found(GiB, GiB - MiB + offset - 1)).toBe(offset > MiB ? null : GiB - MiB + offset - 1);
    // Where an image has data, its ranges begin and end anywhere.
    const at = 100 * MiB + 4096 + offset;
    const dataRanges = [[100 * MiB + 4096, at + 1] as const];
    const disk = sparseDisk({ sizeBytes: GiB, pieces: [oneByte(at)], dataRanges });
    expect(firstNonZero(disk)).toBe(at);
  }
});

test("every kind of non-zero byte counts", () => {
  for (const value of [1, 0x80, 0xff]) {
    const disk = sparseDisk({ sizeBytes: GiB, pieces: [oneByte(5000, value)] });
    expect(firstNonZero(disk)).toBe(5000);
  }
});

test("no read leaves the disk", () => {
  for (const size of [0, 512, 100 * KiB, 3 * MiB + 512, GiB + 512, 8 * TiB - 512]) {
    const disk = sparseDisk({ sizeBytes: size });
    firstNonZero(disk);
    const outside = disk.reads.filter(([start, end]) => start < 0 || end > size || end < start);
    expect(outside).toEqual([]);
  }
});

test("all of a disk up to 3 MiB is read", () => {
  for (const size of [1, 513, 100 * KiB, 2 * MiB + 1, 3 * MiB]) {
    for (let offset = 0; offset < size; offset += 65_521) expect(found(size, offset)).toBe(offset);
  }
});
