import { isValidCopy } from "../../src/btrfs/superblock.ts";
import { exitStatusOf, VolumeError } from "../../src/volume/error.ts";
import {
  decideFilesystem,
  type FilesystemAction,
  leastDeviceBytes,
} from "../../src/volume/filesystem.ts";
import { formatPolicies, repairPolicies } from "../../src/volume/options.ts";
import { rebuildPrimary } from "../../src/volume/rebuilt-primary.ts";
import { judge, type Verdict } from "../../src/volume/verdict.ts";
import { bytesIn, isSound, primaryPlace } from "./own-superblock.ts";
import { diskOf, type Sketch, write } from "./sketch.ts";
import {
  contradictsBlank,
  demand,
  fits,
  hasTrueIntent,
  isPrimarySound,
  soundCopies,
} from "./verdict-oracle.ts";

/** All that the policies make of a verdict; a refusal is null. */
function* decisions(
  verdict: Verdict,
  sizeBytes: number,
): Generator<readonly [format: string, repair: string, FilesystemAction | null]> {
  for (const format of formatPolicies) {
    for (const repair of repairPolicies) {
      for (const readOnly of [false, true]) {
        const facts = { device: "/dev/vdb", sizeBytes, readOnly, verdict, format, repair };
        let action: FilesystemAction | null = null;
        try {
          action = decideFilesystem(facts);
        } catch (error) {
          demand(
            error instanceof VolumeError && error.code in exitStatusOf,
            `it threw ${String(error)}`,
          );
        }
        demand(!readOnly || action === null, "something is to be done on a read-only disk");
        if (!readOnly) yield [format, repair, action];
      }
    }
  }
}

const neverFormatted = ["btrfs", "mounted", "multi-device", "shrunk", "damaged", "unreadable"];

/** Whatever the policies: nothing is formatted or repaired that must not be. */
export function demandSafeDecisions(verdict: Verdict, sketch: Sketch): void {
  const { kind } = verdict;
  let repaired = false;
  for (const [format, repair, action] of decisions(verdict, sketch.sizeBytes)) {
    if (action?.kind === "format") {
      demand(format !== "never" && !neverFormatted.includes(kind), `${kind} is formatted`);
      demand(sketch.sizeBytes >= leastDeviceBytes, "too small a disk is formatted");
      demand(!isPrimarySound(sketch), "an intact Btrfs is formatted");
      if (format !== "blank") continue;
      demand(
        (kind === "blank" && contradictsBlank(sketch) === null) ||
          (kind === "interrupted" && hasTrueIntent(sketch) && soundCopies(sketch).length === 0),
        `${kind} is formatted unasked`,
      );
    } else if (action?.kind === "repair") {
      const allowed = repair === "auto" ? ["damaged"] : ["damaged", "wiped", "ambiguous"];
      demand(repair !== "never" && allowed.includes(kind), `${kind} is repaired by ${repair}`);
      if (!repaired) demandSoundRepair(action, sketch);
      repaired = true;
    } else if (action?.kind === "keep") {
      demand(kind === "btrfs" || kind === "mounted", `${kind} is kept`);
    }
  }
}

/** What a repair would write is the mirror with its own address and, at most, the old log. */
function demandSoundRepair(
  { primary, mirror }: Extract<FilesystemAction, { kind: "repair" }>,
  sketch: Sketch,
): void {
  const { superblock } = rebuildPrimary(primary, mirror);
  const { block } = superblock;
  demand(isSound(block, primaryPlace), "a repair writes what the kernel refuses");
  demand(isValidCopy(superblock, primaryPlace), "a repair writes what is not valid");
  demand(fits(block, sketch.sizeBytes), "a repair writes what does not fit");
  const others = block.slice();
  for (const name of ["checksum", "bytenr", "logRoot", "logRootLevel"] as const) {
    bytesIn(others, name).set(bytesIn(mirror.block, name));
  }
  demand(Buffer.compare(others, mirror.block) === 0, "a repair changes more than it may");
  const healed = { ...write(sketch, primaryPlace, block), unreadable: [] };
  demand(judge(diskOf(healed).disk, null).kind === "btrfs", "a repaired disk is no Btrfs");
}
