/**
 * As much of "bun:test" as the tests use that run inside QuickJS: matchers that mean the same, and nothing clever.
 * A matcher that is missing is a TypeError, and so a failed test.
 */

type Body = (...values: never[]) => unknown;
interface Case {
  readonly name: string;
  readonly work: () => unknown;
}

const cases: Case[] = [];
let path: readonly string[] = [];

const add = (name: string, work: () => unknown): void => {
  cases.push({ name: [...path, name].join(" > "), work });
};

function within(name: string, body: () => void): void {
  const outer = path;
  path = [...path, name];
  body();
  path = outer;
}

/** A row of a table is a list of values, or one value. */
const rowOf = (row: unknown): unknown[] => (Array.isArray(row) ? row : [row]);
const titled = (name: string, row: unknown, i: number): string =>
  `${name} [${i}: ${String(rowOf(row)[0])}]`;

export const test = Object.assign(add, {
  each: (rows: readonly unknown[]) => (name: string, body: Body) => {
    rows.forEach((row, i) => {
      add(titled(name, row, i), () => body(...(rowOf(row) as never[])));
    });
  },
});
export const describe = Object.assign(within, {
  each: (rows: readonly unknown[]) => (name: string, body: Body) => {
    rows.forEach((row, i) => {
      within(titled(name, row, i), () => body(...(rowOf(row) as never[])));
    });
  },
});

class Pattern {
  readonly matches: (value: unknown) => boolean;
  constructor(matches: (value: unknown) => boolean) {
    this.matches = matches;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

const fieldsOf = (value: object): string[] =>
  Object.entries(value).flatMap(([name, field]) => (field === undefined ? [] : [name]));

const kindOf = (value: object): string => Object.prototype.toString.call(value);

/** As toEqual() has it: by content, without regard to fields that are undefined. */
function isEqual(one: unknown, other: unknown, isPart: boolean): boolean {
  if (other instanceof Pattern) return other.matches(one);
  if (Object.is(one, other)) return true;
  if (!isObject(one) || !isObject(other)) return false;
  if (!isPart && kindOf(one) !== kindOf(other)) return false;
  if (one instanceof Error && other instanceof Error) return one.message === other.message;
  if (one instanceof Map || one instanceof Set || other instanceof Map || other instanceof Set) {
    const lists = [one, other] as unknown as Iterable<unknown>[];
    return isEqual([...(lists[0] ?? [])], [...(lists[1] ?? [])], isPart);
  }
  if (ArrayBuffer.isView(one) || Array.isArray(one)) {
    if (one.length !== (other as unknown as ArrayLike<unknown>).length) return false;
  } else if (!isPart && fieldsOf(one).length !== fieldsOf(other).length) return false;
  return fieldsOf(other).every((name) => isEqual(one[name], other[name], isPart));
}

/** A stand-in for the value's text that no value breaks. */
function shown(value: unknown): string {
  try {
    return JSON.stringify(value, (_, field) => (typeof field === "bigint" ? `${field}n` : field));
  } catch {
    return String(value);
  }
}

const fits = (text: unknown, pattern: unknown): boolean =>
  pattern instanceof RegExp ? pattern.test(String(text)) : String(text).includes(String(pattern));

function isThrown(work: unknown, wanted: unknown): boolean {
  try {
    (work as () => unknown)();
  } catch (error) {
    if (wanted === undefined) return true;
    if (typeof wanted === "function") return error instanceof wanted;
    const text = error instanceof Error ? error.message : String(error);
    return fits(text, wanted);
  }
  return false;
}

const contains = (whole: unknown, part: unknown): boolean =>
  typeof whole === "string"
    ? whole.includes(String(part))
    : [...(whole as Iterable<unknown>)].includes(part);
const matchers = {
  toBe: (value, wanted) => Object.is(value, wanted),
  toBeFalse: (value) => value === false,
  toBeGreaterThan: (value, wanted) => Number(value) > Number(wanted),
  toBeGreaterThanOrEqual: (value, wanted) => Number(value) >= Number(wanted),
  toBeLessThan: (value, wanted) => Number(value) < Number(wanted),
  toBeLessThanOrEqual: (value, wanted) => Number(value) <= Number(wanted),
  toBeNull: (value) => value === null,
  toBeTrue: (value) => value === true,
  toBeUndefined: (value) => value === undefined,
  toContain: contains,
  toEqual: (value, wanted) => isEqual(value, wanted, false),
  toHaveLength: (value, wanted) => (value as ArrayLike<unknown>).length === wanted,
  toMatch: fits,
  toMatchObject: (value, wanted) => isEqual(value, wanted, true),
  toThrow: isThrown,
} satisfies Record<string, (value: unknown, wanted: unknown) => boolean>;

type Matchers = { readonly [Name in keyof typeof matchers]: (wanted?: unknown) => void };

function claims(value: unknown, holds: boolean): Matchers {
  const entries = Object.entries(matchers).map(([name, matcher]) => [
    name,
    (wanted?: unknown) => {
      if (matcher(value, wanted) === holds) return;
      throw new Error(`${shown(value)} ${holds ? "" : "not "}${name} ${shown(wanted)}`);
    },
  ]);
  return Object.fromEntries(entries);
}

export const expect = Object.assign(
  (value: unknown) => ({ ...claims(value, true), not: claims(value, false) }),
  {
    stringContaining: (part: string) => new Pattern((value) => fits(value, part)),
    stringMatching: (pattern: RegExp) => new Pattern((value) => fits(value, pattern)),
  },
);

/** Runs each `step`-th test, from the `first` on; gives how many hold and what is said of the others. */
export async function runCases(
  first: number,
  step: number,
): Promise<{ passed: number; failures: string[] }> {
  const failures: string[] = [];
  let passed = 0;
  for (let i = first; i < cases.length; i += step) {
    const { name, work } = cases[i] ?? { name: "", work: () => undefined };
    try {
      await work();
      passed++;
    } catch (error) {
      const trace = error instanceof Error ? `\n${error.stack ?? ""}` : "";
      failures.push(`${name}: ${String(error)}${trace}`);
    }
  }
  return { passed, failures };
}
