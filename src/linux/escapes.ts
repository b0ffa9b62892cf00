import { fromUtf8, utf8 } from "./text.ts";

const backslash = 0x5c;
const zero = 0x30;

/** The value of an octal digit; NaN for another byte. */
const digit = (byte: number | undefined): number =>
  byte !== undefined && byte >= zero && byte < zero + 8 ? byte - zero : Number.NaN;

/** "\\040" and its kin, three octal digits a byte, as the kernel escapes names in /proc (fs/seq_file.c, mangle_path). */
function withoutEscapes(field: Uint8Array): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < field.length; i++) {
    const byte = field[i] ?? 0;
    const value = digit(field[i + 1]) * 64 + digit(field[i + 2]) * 8 + digit(field[i + 3]);
    if (byte === backslash && value <= 0xff) {
      bytes.push(value);
      i += 3;
    } else {
      bytes.push(byte);
    }
  }
  return Uint8Array.from(bytes);
}

/** The same of a field that was read as text. */
export const unescaped = (field: string): string =>
  field.includes("\\") ? fromUtf8(withoutEscapes(utf8(field))) : field;
