import type { Call } from "./calls.ts";

/**
 * Of every kind of call the first, the last, and some evenly between them; those that change something
 * three times as close, for there it matters.
 */
export function sample(calls: readonly Call[], perKind: number): readonly Call[] {
  const chosen = new Set<Call>();
  for (const kind of new Set(calls.map((call) => call.kind))) {
    const some = calls.filter((call) => call.kind === kind);
    const count = Math.min(some.length, changing.has(kind) ? perKind * 3 : perKind);
    for (let i = 0; i < count; i += 1) {
      const call = some[Math.round((i * (some.length - 1)) / Math.max(1, count - 1))];
      if (call !== undefined) chosen.add(call);
    }
  }
  return calls.filter((call) => chosen.has(call));
}

const changing = new Set([
  "pwrite64",
  "fsync",
  "ftruncate",
  "mkdirat",
  "ioctl",
  "mount",
  "umount2",
  "vfork",
]);

/** Goes through all points and then tells of every one that failed, not only of the first. */
export async function everyPoint<T>(
  points: readonly T[],
  name: (point: T) => string,
  check: (point: T) => Promise<void>,
): Promise<void> {
  const failures: string[] = [];
  for (const point of points) {
    try {
      await check(point);
    } catch (error) {
      failures.push(`${name(point)}:\n${String(error)}`);
      if (failures.length === FAILURES_AT_MOST) break;
    }
  }
  if (failures.length > 0) throw new Error(failures.join("\n\n"));
}

const FAILURES_AT_MOST = 20;
