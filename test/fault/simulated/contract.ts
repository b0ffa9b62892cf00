import type { ErrorCode } from "../../../src/volume/error.ts";
import type { FormatPolicy, RepairPolicy } from "../../../src/volume/options.ts";
import type { Verdict } from "../../../src/volume/verdict.ts";
import { isOverIntact } from "./content.ts";
import type { Start } from "./start.ts";

const formattedBy: Record<FormatPolicy, readonly Verdict["kind"][]> = {
  never: [],
  blank: ["blank", "interrupted"],
  any: ["blank", "interrupted", "foreign", "unknown", "wiped", "ambiguous", "hopeless"],
};
const repairedBy: Record<RepairPolicy, readonly Verdict["kind"][]> = {
  never: [],
  auto: ["damaged"],
  always: ["damaged", "wiped", "ambiguous"],
};

export type Action = "keep" | "repair" | "format" | "refuse";

/** Section 4 of the contract once more, as a table. */
export function actionOf(start: Start): Action {
  const { verdict, format, repair, chosenBy } = start;
  if (verdict === "btrfs" || verdict === "mounted") return "keep";
  if (repairedBy[repair ?? "auto"].includes(verdict)) return "repair";
  const mayFormat = chosenBy !== "label" && !isOverIntact(start);
  return mayFormat && formattedBy[format ?? "blank"].includes(verdict) ? "format" : "refuse";
}

/** Every reason for which this start may be refused. */
export function refusalsOf(start: Start, occupied: boolean): ReadonlySet<ErrorCode> {
  const codes = new Set<ErrorCode>();
  const action = actionOf(start);
  if (action === "refuse") {
    const { verdict } = start;
    if (verdict !== "btrfs" && verdict !== "mounted") codes.add(verdict);
  }
  // By its name a disk is found only while its primary, whole or damaged, still names it.
  if (start.chosenBy === "label" && !named.includes(start.verdict)) codes.add("device-missing");
  if (start.verdict === "unreadable") codes.add("unreadable").add("device-missing");
  if (action === "format" && !start.hasMkfs) codes.add("mkfs-missing");
  if (start.readOnlyDevice || start.readOnlyMount) codes.add("read-only");
  if (occupied) codes.add("target-occupied");
  const { odd } = start.inside;
  const isSubvolume = odd?.what === "read-only" || odd?.what === "received";
  if (odd !== null && !isSubvolume && (action === "keep" || action === "repair")) {
    codes.add("not-a-subvolume");
  }
  return codes;
}

const named: readonly Verdict["kind"][] = [
  "btrfs",
  "mounted",
  "damaged",
  "multi-device",
  "shrunk",
  "wiped",
];
