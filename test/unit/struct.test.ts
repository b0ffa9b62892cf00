import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { i32, raw, struct, u8, u16, u32, u64 } from "../../src/linux/struct.ts";
import { hex } from "../../src/linux/text.ts";

const example = struct(32, {
  tiny: u8(0),
  small: u16(2),
  middle: u32(4),
  signed: i32(8),
  large: u64(16),
  bytes: raw(24, 4),
});

const values = fc.record({
  tiny: fc.integer({ min: 0, max: 0xff }),
  small: fc.integer({ min: 0, max: 0xffff }),
  middle: fc.integer({ min: 0, max: 0xffff_ffff }),
  signed: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  large: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  bytes: fc.uint8Array({ minLength: 4, maxLength: 4 }),
});

test("what was encoded decodes to the same", () => {
  fc.assert(
    fc.property(values, (given) => {
      expect(example.decode(example.encode(given))).toEqual(given);
    }),
  );
});

test("fields are little endian, each at its place, and all else is zero", () => {
  const bytes = example.encode({
    tiny: 0x01,
    small: 0x0203,
    middle: 0x04050607,
    signed: -2,
    large: 0x08090a0b0c0d0e0fn,
    bytes: Uint8Array.of(1, 2, 3, 4),
  });
  expect(hex(bytes)).toBe("0100030207060504feffffff00000000" + "0f0e0d0c0b0a09080102030400000000");
});

test("a struct without values is zeros", () => {
  expect(example.encode({})).toEqual(new Uint8Array(32));
});

test("patching leaves every other byte alone", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (before) => {
      const after = before.slice();
      example.patch(after, { middle: 0xdeadbeef });
      for (let i = 0; i < 32; i++) if (i < 4 || i > 7) expect(after[i]).toBe(before[i] ?? -1);
      expect(example.decode(after).middle).toBe(0xdeadbeef);
    }),
  );
});

describe("bytes that are a part of larger ones", () => {
  const larger = new Uint8Array(100).fill(0xee);
  const part = larger.subarray(40, 72);

  test("are decoded and patched at their own place", () => {
    example.patch(part, { tiny: 7, bytes: Uint8Array.of(9, 8, 7, 6) });
    expect([larger[39], larger[40], larger[64], larger[67], larger[72]]).toEqual([
      0xee, 7, 9, 6, 0xee,
    ]);
    expect(example.decode(part).tiny).toBe(7);
  });
});

test("fewer bytes than the struct has are refused, not read past their end", () => {
  const larger = new Uint8Array(100);
  expect(() => example.decode(larger.subarray(0, 31))).toThrow(RangeError);
  expect(() => example.decode(new Uint8Array(0))).toThrow(RangeError);
});

test("more bytes than a field has are refused, fewer fill its start", () => {
  expect(() => example.encode({ bytes: new Uint8Array(5) })).toThrow(RangeError);
  expect(example.encode({ bytes: Uint8Array.of(1) }).subarray(24)).toEqual(
    Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0),
  );
});

test("decoded bytes are a copy", () => {
  const source = example.encode({ bytes: Uint8Array.of(1, 2, 3, 4) });
  const { bytes } = example.decode(source);
  source.fill(0xff);
  expect(bytes).toEqual(Uint8Array.of(1, 2, 3, 4));
});
