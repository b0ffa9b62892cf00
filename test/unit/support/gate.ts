import { describe, test } from "bun:test";

const isCi = process.env.CI === "true";

/** Where a program is, null where it is not installed. */
export const program = (name: string): string | null =>
  Bun.which(name, { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` });

/**
 * Tests that need something of the machine. `lacking` says what is not there: then they are one
 * skipped test that names it, and with CI=true a failed one. Null: they run.
 */
export function describeWhere(lacking: string | null, name: string, body: () => void): void {
  if (lacking === null) {
    describe(name, body);
  } else if (isCi) {
    test(name, () => {
      throw new Error(`this machine lacks ${lacking}`);
    });
  } else {
    test.skip(`${name} (this machine lacks ${lacking})`, () => undefined);
  }
}
