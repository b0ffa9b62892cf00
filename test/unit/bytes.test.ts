import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { areEqual, firstNonZeroByte, isAllZero } from "../../src/linux/bytes.ts";
import { KiB } from "./support/sparse-disk.ts";

const chunk = 64 * KiB;

describe("the first byte that is not zero", () => {
  test.each([1, 2, 511, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 1])(
    "is found at the edges of %i bytes, and of each chunk of them",
    (length) => {
      const bytes = new Uint8Array(length);
      expect(firstNonZeroByte(bytes)).toBeNull();
      const places = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk - 1, 2 * chunk, length - 1];
      for (const place of places.filter((at) => at < length)) {
        for (const value of [1, 0x80, 0xff]) {
          bytes[place] = value;
          expect(firstNonZeroByte(bytes)).toBe(place);
          bytes[place] = 0;
        }
      }
    },
  );

  test("is not one of another chunk, nor one outside of a part of an array", () => {
    const bytes = new Uint8Array(4 * chunk).fill(0xff, 0, chunk + 3).fill(0xff, 3 * chunk);
    expect(firstNonZeroByte(bytes.subarray(chunk + 3, 3 * chunk))).toBeNull();
    expect(firstNonZeroByte(bytes.subarray(chunk + 2, 3 * chunk))).toBe(0);
    expect(firstNonZeroByte(bytes.subarray(chunk + 3, 3 * chunk + 1))).toBe(2 * chunk - 3);
  });

  test("is there also when all are alike", () => {
    expect(firstNonZeroByte(new Uint8Array(chunk).fill(7))).toBe(0);
  });

  test("is not in nothing", () => {
    expect(firstNonZeroByte(new Uint8Array(0))).toBeNull();
    expect(isAllZero(new Uint8Array(0))).toBeTrue();
  });
});

test("bytes are equal when there are as many, and each is the same", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (one, other) => {
      expect(areEqual(one, other)).toBe(one.toHex() === other.toHex());
      const inside = Uint8Array.of(9, ...other, 9).subarray(1, 1 + other.length);
      expect(areEqual(Buffer.from(one), inside)).toBe(one.toHex() === other.toHex());
    }),
  );
});
