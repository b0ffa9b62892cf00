import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  cString,
  fromUtf8,
  hex,
  nameBytes,
  textUntilNul,
  utf8,
  uuidText,
} from "../../src/linux/text.ts";

/** Any text without halves of a surrogate pair, which no UTF-8 can carry. */
const text = fc.string({ unit: "binary" }).filter((value) => value.isWellFormed());

describe("text for the kernel", () => {
  test("is UTF-8 with one NUL behind it", () => {
    expect([...cString("ü/€")]).toEqual([0xc3, 0xbc, 0x2f, 0xe2, 0x82, 0xac, 0]);
    expect([...cString("")]).toEqual([0]);
  });

  test("with a NUL inside is refused: the kernel would see another, shorter path", () => {
    expect(() => cString("/dev/vdb\0x")).toThrow(TypeError);
    expect(() => cString("\0")).toThrow(TypeError);
  });

  test("comes back as it went", () => {
    fc.assert(
      fc.property(text, (value) => {
        fc.pre(!value.includes("\0") && !value.startsWith("\ufeff"));
        expect(textUntilNul(cString(value))).toBe(value);
        expect(fromUtf8(utf8(value))).toBe(value);
      }),
    );
  });
});

describe("a name that is no UTF-8", () => {
  test.each([
    ["one byte", [0xff]],
    ["a byte in a name", [0x2f, 0x61, 0x80, 0x62]],
    ["half a character at the end", [0x61, 0xc3]],
    ["half a character in front of another", [0xe2, 0x82, 0xc3, 0xa4]],
    ["a surrogate in UTF-8", [0xed, 0xb3, 0xbf]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["the mark for what is no UTF-8 itself", [0xef, 0xbf, 0xbd, 0xff]],
    ["a character beyond 16 bits beside it", [0xf0, 0x9f, 0x98, 0x80, 0xfe]],
  ] as const)("comes back as it was: %s", (_what, bytes) => {
    expect([...utf8(fromUtf8(Uint8Array.from(bytes)))]).toEqual([...bytes]);
    expect([...cString(fromUtf8(Uint8Array.from(bytes)))]).toEqual([...bytes, 0]);
  });

  test("whatever its bytes are, and no other name has the same text", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (one, other) => {
        expect([...utf8(fromUtf8(one))]).toEqual([...one]);
        expect(fromUtf8(one) === fromUtf8(other)).toBe(one.join() === other.join());
      }),
    );
  });
});

describe("what no file can be called is refused, and not taken for another name", () => {
  test.each([
    ["a NUL", "a\0b"],
    ["the first half of a character", "a\ud83d"],
    ["a second half that stands for no byte", "\udc7fb"],
    ["a second half far from any byte", "\udfff"],
    ["two first halves", "\ud83d\ud83d"],
  ])("%s", (_what, name) => {
    expect(() => nameBytes(name)).toThrow(TypeError);
    expect(() => cString(name)).toThrow(TypeError);
  });
  test("a whole character is none of these", () => {
    expect(nameBytes("😀")).toHaveLength(4);
  });
});

describe("text of a fixed field", () => {
  test.each([
    ["ends at the first NUL", "abc\0def", "abc"],
    ["may fill the field", "abc", "abc"],
    ["may be empty", "\0abc", ""],
    ["may be nothing", "", ""],
  ] as const)("%s", (_what, field, expected) => {
    expect(textUntilNul(utf8(field))).toBe(expected);
  });

  test("that is no UTF-8 does not throw", () => {
    expect(textUntilNul(Uint8Array.of(0x61, 0xff, 0xfe, 0x62))).toMatch(/^a.*b$/);
  });
});

test("hexadecimal has two digits a byte", () => {
  expect(hex(Uint8Array.of(0, 1, 0x0a, 0xff))).toBe("00010aff");
  expect(hex(new Uint8Array(0))).toBe("");
});

test("a UUID is written 8-4-4-4-12", () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i * 16 + i);
  expect(uuidText(bytes)).toBe("00112233-4455-6677-8899-aabbccddeeff");
});
