/** Bytes and strings at the border to the kernel. */

import { decode, encode } from "#native";

/** Half of a surrogate pair that stands for no byte, so that two such names would be the same bytes. */
const halfCharacter = /[\ud800-\udc7f\udd00-\udfff]/u;

/** The bytes of a path or name. Throws for what no file can be called. */
export function nameBytes(text: string): Uint8Array {
  if (text.includes("\0")) throw new TypeError("a NUL character in a path or name");
  if (halfCharacter.test(text)) throw new TypeError("half of a character in a path or name");
  return utf8(text);
}

/** The same with the closing NUL that the kernel expects. */
export function cString(text: string): Uint8Array {
  const bytes = nameBytes(text);
  const closed = new Uint8Array(bytes.length + 1);
  closed.set(bytes);
  return closed;
}

/** The text up to the first NUL, or all of it. */
export function textUntilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return fromUtf8(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * A byte that is no UTF-8 stands in a text as half of a surrogate pair: 0xff as U+DCFF. No UTF-8 has such
 * a half, so a name of any bytes comes back as it was (Python's "surrogateescape").
 */
const escapeBase = 0xdc00;
const isEscape = (unit: number): boolean => unit >= escapeBase + 0x80 && unit <= escapeBase + 0xff;

export function utf8(text: string): Uint8Array {
  if (text.isWellFormed()) return encode(text);
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (isEscape(code)) bytes.push(code - escapeBase);
    else bytes.push(...encode(character));
  }
  return Uint8Array.from(bytes);
}

export const fromUtf8 = (bytes: Uint8Array): string => decode(bytes) ?? fromBytes(bytes);

/** The longest UTF-8 of a character. */
const longestBytes = 4;

function fromBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const { character, length } = characterAt(bytes, at);
    text += character;
    at += length;
  }
  return text;
}

function characterAt(bytes: Uint8Array, at: number): { character: string; length: number } {
  for (let length = 1; length <= longestBytes && at + length <= bytes.length; length++) {
    const character = decode(bytes.subarray(at, at + length));
    if (character !== null) return { character, length };
  }
  return { character: String.fromCharCode(escapeBase + (bytes[at] ?? 0)), length: 1 };
}

/** Lower-case hexadecimal, two digits a byte. */
export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** 16 bytes as "8-4-4-4-12". */
export function uuidText(bytes: Uint8Array): string {
  const digits = hex(bytes);
  const group = (start: number, end: number): string => digits.slice(start, end);
  return [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-");
}
