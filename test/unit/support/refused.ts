import { expect } from "bun:test";
import { type ErrorCode, VolumeError } from "../../../src/volume/error.ts";

/** The refusal that `work` throws; fails when it throws anything else, or nothing. */
export function refusalOf(work: () => unknown): VolumeError {
  let value: unknown;
  try {
    value = work();
  } catch (error) {
    if (error instanceof VolumeError) return error;
    throw error;
  }
  throw new Error(`expected a refusal, but it gave ${String(value)}`);
}

/** `work` is refused with this code, and the words name what is the matter. */
export function expectRefused(
  work: () => unknown,
  code: ErrorCode,
  ...names: readonly (string | RegExp)[]
): void {
  const error = refusalOf(work);
  expect(error.code).toBe(code);
  for (const name of names) expect(`${error.message}\n${error.hint ?? ""}`).toMatch(name);
}
