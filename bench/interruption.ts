/** Thrown where the bench stops because it was asked to. */
class Stopped extends Error {}

let signal: NodeJS.Signals | undefined;

/** From here on these signals end the bench before its next round, which then cleans up. */
export function stopOnSignals(): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      signal ??= name;
    });
  }
}

/** A signal is only seen where the event loop turns. */
export async function isStopped(): Promise<boolean> {
  await Bun.sleep(0);
  return signal !== undefined;
}

/** Between two rounds. */
export async function stopIfAsked(): Promise<void> {
  if (await isStopped()) throw new Stopped();
}
