import { SystemError } from "../linux/errno.ts";
import { hex } from "../linux/text.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import {
  type FilesystemAction,
  filesystemResult,
  isIntact,
  staleIntentResult,
  unreadable,
} from "./filesystem.ts";
import { findMkfs, format } from "./format.ts";
import { clearIntent, hasIntentBeside } from "./intent.ts";
import { rebuildPrimary } from "./rebuilt-primary.ts";
import { repairPrimary } from "./repair.ts";
import { sizeText } from "./size.ts";
import type { Source } from "./source.ts";
import { assertFree, judgeNow, type Survey } from "./survey.ts";
import { judge, type Verdict } from "./verdict.ts";

type Decision = Pick<Survey, "verdict" | "action">;

/** Keeps, repairs or formats, and makes sure that what was written reads as a sound Btrfs. */
export function settleFilesystem(
  context: Context,
  source: Source,
  { verdict, action }: Decision,
): void {
  const { kernel, recorder } = context;
  recorder.set("filesystem", filesystemResult(action, verdict));
  if (action.kind === "keep") {
    // `glance` leaves a disk with a record to `judge`; under a live mount nothing is written.
    if (verdict.kind !== "btrfs" || !hasIntentBeside(source.disk)) return;
    assertUnchanged(context, source, verdict);
    clearIntent(kernel, source.device.fd, source.disk);
    recorder.set("filesystem", staleIntentResult);
    return;
  }
  assertUnchanged(context, source, verdict);
  try {
    if (action.kind === "repair") repair(context, source, verdict, action);
    else formatDisk(context, source, verdict.kind, action.overwrite);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new VolumeError(codeOf(action), `${source.path} could not be written: ${error.message}`, {
      cause: error,
      hint: `see the kernel's log (dmesg)${source.goesOnFailure ? "" : "; the next run goes on from here"}`,
    });
  }
  assertSound(context, source, action);
  // Power that failed before a format had begun leaves its record beside what is repaired now.
  if (action.kind === "repair" && hasIntentBeside(source.disk)) {
    clearIntent(kernel, source.device.fd, source.disk);
  }
}

/**
 * The last look before a write: a verdict is worth nothing if it is not true now. What came over a blank
 * disk since then, which is milliseconds, shows where tables and filesystems begin and end; the samples
 * between were read from the disk itself and are not asked again.
 */
function assertUnchanged(context: Context, source: Source, verdict: Verdict): void {
  context.recorder.in("filesystem", () => {
    source.assertStillChosen();
    assertFree(context, source);
    source.assertNoOtherUse(verdict.kind);
    const extent = verdict.kind === "blank" ? "ends" : "all";
    const now = judgeNow(context, source, source.mountedUuid(), extent);
    if (now.kind === verdict.kind && isIntact(now) === isIntact(verdict)) return;
    if (now.kind === "unreadable") throw unreadable(source.path, now.cause);
    const what = now.kind === verdict.kind ? "an intact Btrfs came to it or went" : now.kind;
    throw new VolumeError(
      "busy",
      `${source.path} changed from ${verdict.kind} to ${what} meanwhile`,
      {
        hint: "see what writes to the disk, then run the command again",
      },
    );
  });
}

const codeOf = ({ kind }: FilesystemAction): "format-failed" | "damaged" =>
  kind === "format" ? "format-failed" : "damaged";

type Repair = Extract<FilesystemAction, { kind: "repair" }>;

function repair(context: Context, source: Source, verdict: Verdict, action: Repair): void {
  const { kernel, recorder, note } = context;
  const { superblock, log } = rebuildPrimary(action.primary, action.mirror);
  repairPrimary(kernel, source.device.fd, action.primary, superblock);
  const { outcome, detail } = filesystemResult(action, verdict);
  const replacedSector = hex(action.primary.block);
  recorder.set("filesystem", { outcome, detail, replacedSector });
  if (log === "lost") {
    note(
      "ATTENTION: the damaged superblock may have pointed to an fsync log that its copy does not know: " +
        "what was fsynced in the last seconds before the damage may be gone",
    );
  }
}

function formatDisk(
  context: Context,
  source: Source,
  verdict: Verdict["kind"],
  overwrite: boolean,
): void {
  const { kernel, layout, progress } = context;
  const { path, fd, sizeBytes, isRagged } = source.device;
  progress(`formatting ${path} (${sizeText(sizeBytes)}) with mkfs.btrfs`);
  format(kernel, {
    path,
    disk: source.disk,
    mkfs: findMkfs(kernel),
    label: layout.label,
    options: layout.mkfs,
    overwrite,
    isRagged,
    fd,
    verdict,
    onBegun: () => source.beginWriting(),
  });
}

/** A report says only what is so: what was written is read again. */
function assertSound({ recorder }: Context, source: Source, action: FilesystemAction): void {
  const now = judge(source.disk, null);
  if (now.kind !== "btrfs") {
    const what =
      now.kind === "unreadable"
        ? `cannot be read back: ${now.cause.message}`
        : `now reads as ${now.kind}`;
    throw new VolumeError(codeOf(action), `${source.path} was written and ${what}`, {
      hint: "the disk does not keep what is written to it: see the kernel's log (dmesg)",
    });
  }
  recorder.uuid = now.superblock.fsid;
}
