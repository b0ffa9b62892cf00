import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A service when the boot was over. */
export interface Service {
  readonly state: string;
  readonly exitStatus: number;
  readonly everStarted: boolean;
}

/** One run of a machine, from power-on to power-off. */
export interface Boot {
  readonly services: ReadonlyMap<string, Service>;
  /** What the daemons recorded, and "witness" when the volume's unit had stopped, in their order. */
  readonly events: readonly string[];
  /** How the unit was and what there was of Btrfs at that moment. */
  readonly witness: readonly string[];
  /** Output of the test's script. */
  readonly said: string;
}

const names = ["booted", "events", "said", "status", "witness"];

/** Empties the files that the scripts in inside/ write to. */
export function clearRecords(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of names) writeFileSync(join(folder, name), "");
}

export function readRecords(folder: string): Boot {
  const [booted = "", events = "", said = "", status, witness = ""] = names.map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
  if (status !== "0\n") throw new Error(`the script failed: ${said}`);
  const lines = (text: string): string[] => text.split("\n").filter(Boolean);
  return { services: services(booted), events: lines(events), witness: lines(witness), said };
}

/** What `systemctl show` says of several units: lines KEY=VALUE, an empty line between two units. */
function services(text: string): Map<string, Service> {
  const found = new Map<string, Service>();
  for (const block of text.trim().split("\n\n")) {
    const get = (key: string): string => new RegExp(`^${key}=(.*)$`, "m").exec(block)?.[1] ?? "";
    found.set(get("Id").replace(".service", ""), {
      state: get("ActiveState"),
      exitStatus: Number(get("ExecMainStatus")),
      everStarted: get("ExecMainStartTimestampMonotonic") !== "0",
    });
  }
  return found;
}
