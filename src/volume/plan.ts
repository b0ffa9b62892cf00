import type { Kernel } from "../linux/kernel.ts";
import { lookAtCapacity, noteDisk, planCapacity } from "./capacity.ts";
import { type Context, closeAll, newContext, type Progress } from "./context.ts";
import { filesystemResult, staleIntentResult } from "./filesystem.ts";
import { hasIntentBeside } from "./intent.ts";
import { lookAtNocow, planNocow } from "./nocow.ts";
import type { VolumeOptions } from "./options.ts";
import {
  assertWritable,
  mountpointsResult,
  mountReports,
  mountResult,
  noteDeviations,
  noteElsewhere,
  noteReceived,
  openTop,
} from "./places.ts";
import type { Report, StepName, StepResult } from "./report.ts";
import { openSource, type Source } from "./source.ts";
import { planSubvolumes, subvolumesResult, withoutSubvolumes } from "./subvolumes.ts";
import { type Survey, survey } from "./survey.ts";

/** Says what `up` would do. Changes nothing; never throws: a refusal is in the report. */
export function plan(kernel: Kernel, options: VolumeOptions, progress: Progress): Report {
  const context = newContext(kernel, options, false, progress);
  const { recorder } = context;
  let source: Source | null = null;
  try {
    source = recorder.in("device", () => openSource(context));
    recorder.disk(source.path, source.disk.sizeBytes, source.plan());
    planSteps(context, source);
  } catch (error) {
    recorder.fail(error);
  } finally {
    source?.close();
    closeAll(context);
  }
  return recorder.report();
}

const later: StepResult = { outcome: "unknown", detail: "checked once mounted" };

function planSteps(context: Context, source: Source): void {
  const { recorder, layout } = context;
  const found = survey(context, source);
  const { verdict, action, places } = found;

  const isStale = verdict.kind === "btrfs" && hasIntentBeside(source.disk);
  recorder.set("filesystem", isStale ? staleIntentResult : filesystemResult(action, verdict));
  recorder.set("mount", mountResult(places));
  const inside = lookInside(context, source, found);
  const isNew = action.kind === "format";
  const fresh: Inside = {
    capacity: { outcome: "kept", detail: "formatted to the size of the device" },
    subvolumes: subvolumesResult(
      { create: layout.entries.map(({ subvolume }) => subvolume), unlock: [] },
      layout,
    ),
    nocow: planNocow(null, layout),
  };
  const results = inside ?? (isNew ? fresh : { capacity: later, subvolumes: later, nocow: later });
  recorder.set("capacity", results.capacity);
  recorder.set("subvolumes", results.subvolumes);
  recorder.set("mountpoints", mountpointsResult(places));
  recorder.set("nocow", results.nocow);
  recorder.mounts = mountReports(places);
}

type Inside = Record<Extract<StepName, "capacity" | "subvolumes" | "nocow">, StepResult>;

/** What only a mounted volume can show; null when it is not mounted where it belongs. */
function lookInside(context: Context, source: Source, found: Survey): Inside | null {
  const { kernel, layout, recorder, note } = context;
  const { places } = found;
  const { root, whole, missing, mounts } = places;
  if (found.verdict.kind === "mounted") {
    noteElsewhere(kernel, null, places, note);
    noteDeviations(layout, places, note);
  }
  if (root === null || missing.has(whole)) return null;
  const top = recorder.in("mount", () => {
    const fd = openTop(context, root, whole);
    assertWritable(kernel, fd, mounts);
    return fd;
  });
  const capacity = recorder.in("capacity", () => {
    const { path, sizeBytes } = source.device;
    const willGrow = source.disk.sizeBytes > sizeBytes;
    const bytes = willGrow ? source.disk.sizeBytes : source.backedBytes;
    const facts = lookAtCapacity(kernel, top, path, bytes);
    noteDisk(facts, whole.path, note);
    return planCapacity(facts);
  });
  const due = recorder.in("subvolumes", () => planSubvolumes(kernel, top, layout));
  noteReceived(due.locked, places, note);
  const nocow = recorder.in("nocow", () => {
    const writable = withoutSubvolumes(layout, due.locked);
    return planNocow(lookAtNocow(kernel, top, writable, note), writable);
  });
  return { capacity, subvolumes: subvolumesResult(due, layout), nocow };
}
