import { readTextOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";

/** One parameter; `value` is null of one without an equals sign. */
interface Parameter {
  readonly name: string;
  readonly value: string | null;
}

const quote = '"';
/** isspace() of the kernel's lib/ctype.c, as far as it is ASCII: its 0xA0 would cut an "à" of UTF-8 in two. */
const space = /[ \t\n\v\f\r]/;

/** The words between white space that no double quotes protect. `isOpen`: the last one lacks its closing quote. */
function wordsOf(cmdline: string): { readonly words: readonly string[]; readonly isOpen: boolean } {
  const words: string[] = [];
  let word = "";
  let isQuoted = false;
  for (const character of cmdline) {
    if (character === quote) isQuoted = !isQuoted;
    if (isQuoted || !space.test(character)) {
      word += character;
    } else {
      if (word !== "") words.push(word);
      word = "";
    }
  }
  if (word !== "") words.push(word);
  return { words, isOpen: isQuoted };
}

const withoutEndQuote = (text: string): string => (text.endsWith(quote) ? text.slice(0, -1) : text);

/** next_arg() of the kernel's lib/cmdline.c: `key="a b"` and `"key=a b"` both mean `a b`. */
function parameterOf(word: string): Parameter {
  const isQuoted = word.startsWith(quote);
  const body = isQuoted ? word.slice(1) : word;
  const equals = body.indexOf("=", 1);
  if (equals < 0) return { name: isQuoted ? withoutEndQuote(body) : body, value: null };
  const text = body.slice(equals + 1);
  const isValueQuoted = text.startsWith(quote);
  const value = isValueQuoted ? withoutEndQuote(text.slice(1)) : text;
  return { name: body.slice(0, equals), value: isQuoted ? withoutEndQuote(value) : value };
}

/** parameq() of the kernel's kernel/params.c: a hyphen and an underscore are one character in a name. */
const sameName = (text: string): string => text.replaceAll("-", "_");

/**
 * The values of the parameters `key` of a kernel command line that have one; none when there is no such
 * parameter. Throws `usage` when there is one, but none with a value: it was written to choose
 * something, and the default is something else.
 *
 * What stands behind ` -- ` counts too. The kernel leaves it to init, and we are what init starts.
 */
function valuesOf(cmdline: string, key: string, hint: string): readonly string[] {
  // Most lines do not name it, and need not be taken apart.
  if (!sameName(cmdline).includes(sameName(key))) return [];
  const { words, isOpen } = wordsOf(cmdline);
  const last = words.at(-1);
  if (isOpen && last !== undefined && sameName(last).includes(sameName(key))) {
    throw unusable(key, "stands behind a double quote that is never closed", hint);
  }
  const found = words.map(parameterOf).filter(({ name }) => sameName(name) === sameName(key));
  const values = found
    .map((parameter) => parameter.value ?? "")
    .filter((text) => text.trim() !== "");
  if (found.length > 0 && values.length === 0) throw unusable(key, "has no value", hint);
  return values;
}

/** The first value of a parameter; undefined when there is no such parameter. Throws `usage`. */
export const cmdlineValue = (cmdline: string, key: string): string | undefined =>
  valuesOf(cmdline, key, "give it a value, or leave it out")[0];

/**
 * The same for a parameter that must be one of a few words. One that says two things is an error,
 * because one of them may format a disk.
 */
export function cmdlineChoice<T extends string>(
  cmdline: string,
  key: string,
  choices: readonly T[],
): T | undefined {
  const hint = `use one of: ${choices.join(", ")}`;
  const [value, ...others] = new Set(valuesOf(cmdline, key, hint));
  if (value === undefined) return undefined;
  if (others.length > 0) {
    const said = [value, ...others].map((text) => JSON.stringify(text)).join(" and ");
    throw unusable(key, `says several things: ${said}`, hint);
  }
  const choice = choices.find((word) => word === value);
  if (choice !== undefined) return choice;
  throw unusable(key, `is ${JSON.stringify(value)}`, hint);
}

/** For a parameter of ours that is there and cannot be used. */
export const unusable = (key: string, why: string, hint: string): VolumeError =>
  new VolumeError("usage", `${key}= on the kernel command line ${why}`, { hint });

/** null where /proc does not show it: mounted with subset=pid, it has nothing but processes. */
export const readCmdline = (kernel: Kernel): string | null =>
  readTextOrNull(kernel, "/proc/cmdline");
