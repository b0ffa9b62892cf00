/** Bytes and strings at the border to the kernel. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 bytes with the closing NUL that the kernel expects. Throws on a NUL inside. */
export function cString(text: string): Uint8Array {
  if (text.includes("\0")) throw new RangeError("a NUL character in a path or name");
  return encoder.encode(`${text}\0`);
}

/** The text up to the first NUL, or all of it. */
export function textUntilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export const utf8 = (text: string): Uint8Array => encoder.encode(text);
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes);

/** Lower-case hexadecimal, two digits a byte. */
export const hex = (bytes: Uint8Array): string => bytes.toHex();

/** 16 bytes as "8-4-4-4-12". */
export function uuidText(bytes: Uint8Array): string {
  const digits = hex(bytes);
  const group = (start: number, end: number): string => digits.slice(start, end);
  return [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-");
}
