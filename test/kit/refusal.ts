import { expect } from "bun:test";
import { fails, volume } from "./agent.ts";
import { flush } from "./image.ts";
import type { Report } from "./report.ts";
import type { Sandbox } from "./sandbox.ts";
import { observe } from "./world.ts";

export interface Refusal {
  /** The error's code, or the codes the contract leaves open. */
  readonly code: string | readonly string[];
  /** What the message or the hint has to name. */
  readonly names?: readonly (string | RegExp)[];
  readonly device?: string;
}

/**
 * `plan` and `up` both refuse with this code, no byte of any image changes, nothing is mounted,
 * and `plan` leaves every folder and loop device as it was.
 */
export async function expectRefused(
  box: Sandbox,
  args: readonly string[],
  { code, names = [], device }: Refusal,
): Promise<Report> {
  const codes = typeof code === "string" ? [code] : code;
  if (device !== undefined) flush(device);
  const before = observe(box);
  await fails(volume(box, "plan", args), ...codes);
  expect(observe(box)).toEqual(before);
  const error = await fails(volume(box, "up", args), ...codes);
  if (device !== undefined) flush(device);
  const after = observe(box);
  expect(after.images).toEqual(before.images);
  expect(after.mounts).toEqual(before.mounts);
  const said = `${error.message}\n${error.hint}`;
  for (const name of names) expect(said).toMatch(name);
  return error.report;
}
