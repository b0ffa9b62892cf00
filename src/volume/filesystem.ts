import { isSeed, type Superblock } from "../btrfs/superblock.ts";
import type { SystemError } from "../linux/errno.ts";
import { VolumeError } from "./error.ts";
import { conversionHint, isFileFormat } from "./file-formats.ts";
import { leastIntentDeviceBytes } from "./intent.ts";
import type { MkfsOptions } from "./layout.ts";
import type { FormatPolicy, RepairPolicy } from "./options.ts";
import type { StepResult } from "./report.ts";
import { shellWord } from "./shell-word.ts";
import { comparedSizes, sizeText } from "./size.ts";
import type { Verdict } from "./verdict.ts";

/**
 * The least device that mkfs.btrfs accepts, measured with btrfs-progs 6.2, whatever the node size:
 * by default, with DUP metadata. Asked before anything is written.
 */
export const leastDeviceBytes = 114_294_784;
/** With this much less or more for other profiles. */
const singleMetadataBytes = 47_185_920;
const dupDataBytes = 125_829_120;

/** The same for the profiles of a layout; the intent record must have its place, too. */
const leastBytesFor = ({ metadata, data }: MkfsOptions): number =>
  Math.max(
    leastIntentDeviceBytes,
    (metadata === "single" ? singleMetadataBytes : leastDeviceBytes) +
      (data === "dup" ? dupDataBytes : 0),
  );

/** What `up` does about the filesystem. */
export type FilesystemAction =
  | { readonly kind: "keep" }
  /** The superblock at 64 KiB is rebuilt from `mirror`. */
  | { readonly kind: "repair"; readonly primary: Superblock; readonly mirror: Superblock }
  /** `overwrite`: mkfs must be told that what it finds there may go. */
  | { readonly kind: "format"; readonly overwrite: boolean };

export interface FilesystemFacts {
  /** For messages. */
  readonly device: string;
  readonly sizeBytes: number;
  /** What it has before it grows; without it, that is its size. */
  readonly bytesNow?: number;
  readonly readOnly: boolean;
  /** It is a file, given as an image. */
  readonly isFile?: boolean;
  readonly verdict: Verdict;
  /**
   * The mirror of a repair really has several devices: its superblock alone may be wrong, and the kernel mends that.
   * Where nobody has counted them, the superblock is believed.
   */
  readonly hasSeveralDevices?: boolean;
  readonly format: FormatPolicy;
  /** How it would be formatted. */
  readonly mkfs?: MkfsOptions;
  readonly repair: RepairPolicy;
}

/** Every tool of btrfs-progs begins with a superblock, and takes none whose checksum is wrong. */
const hopelessHint =
  "nothing was written; restore a backup: btrfs rescue super-recover, btrfs restore and all others find nothing where " +
  "no copy of the superblock is intact; to destroy what is on it: --format any";

/** "the Btrfs 7b…-… "my data"" */
const btrfsText = ({ fsid, label }: Superblock): string =>
  `the Btrfs ${fsid}${label === "" ? "" : ` "${label}"`}`;

const generationText = ({ generation }: Superblock): string => `generation ${generation}`;

/** The hint for an intact Btrfs, which no policy formats: it takes two commands to destroy it. */
export const startAnew = (device: string): string =>
  `to start anew, which destroys the filesystem: wipefs -a ${shellWord(device)}, then volume up --format any`;

/** A mark behind the filesystem's end is nobody's any more once the filesystem reaches over it. */
const takeOver = (device: string): string =>
  `if that is left from what was there before, and the Btrfs is yours: mount -t btrfs ${device} /mnt && ` +
  "btrfs filesystem resize max /mnt && umount /mnt; ";

/** The disk has an intact superblock of Btrfs, whatever else is on it. */
export const isIntact = (verdict: Verdict): boolean =>
  "superblock" in verdict && verdict.superblock !== null;

/** A disk, or a part of it that had to be looked at, that gives errors. */
export const unreadable = (device: string, cause: SystemError): VolumeError =>
  new VolumeError("unreadable", `${device} cannot be read: ${cause.message}`, {
    cause,
    hint: "check the disk and its cable or host; nothing was written",
  });

/** A file that holds a disk in another way than byte for byte; no policy makes it one that does. */
function assertNoOtherFormat({ device, isFile, verdict }: FilesystemFacts): void {
  if (verdict.kind !== "foreign" || isFile !== true || !isFileFormat(verdict.name)) return;
  throw new VolumeError("foreign", `${device} is no raw image: it holds ${verdict.name}`, {
    hint: conversionHint(verdict.name, device),
  });
}

/** Why this verdict cannot be used, in words. */
function refusal({
  device,
  sizeBytes,
  bytesNow = sizeBytes,
  verdict,
}: FilesystemFacts): VolumeError {
  switch (verdict.kind) {
    case "foreign": {
      const { name, superblock, isAtEnd } = verdict;
      const under = superblock === null ? "" : `, and beside it ${btrfsText(superblock)}`;
      return new VolumeError("foreign", `${device} already holds ${name}${under}`, {
        hint:
          superblock === null
            ? "choose another disk; to destroy what is on it: --format any"
            : `choose another disk; ${isAtEnd ? takeOver(device) : ""}${startAnew(device)}`,
      });
    }
    case "unknown":
      return new VolumeError(
        "unknown",
        `${device} holds unknown data: byte ${verdict.offset} is not zero`,
        { hint: "choose another disk; to destroy what is on it: --format any" },
      );
    case "unreadable":
      return unreadable(device, verdict.cause);
    case "shrunk":
      return new VolumeError(
        "shrunk",
        `${device} is ${sizeText(bytesNow)} (${bytesNow} bytes), smaller than its filesystem: ` +
          `${sizeText(verdict.superblock.deviceBytes)} (${verdict.superblock.deviceBytes} bytes)`,
        {
          hint:
            "if the disk was made smaller, give it its old size back: what was not cut off is still there; a file " +
            `that was copied in part must be copied again, for growing it does not bring back the rest; ${startAnew(device)}`,
        },
      );
    case "multi-device":
      return new VolumeError(
        "multi-device",
        `${device} is one of ${verdict.superblock.deviceCount} devices of a Btrfs: not a data volume`,
        { hint: `choose another disk; ${startAnew(device)}` },
      );
    case "wiped":
      return new VolumeError(
        "wiped",
        `${device} held a Btrfs whose signature was erased, as wipefs does on purpose`,
        { hint: "to bring it back: --repair always; to start anew: --format any" },
      );
    case "damaged":
      return new VolumeError("damaged", `the superblock of ${device} is damaged`, {
        hint: "an intact copy exists: allow the repair with --repair auto",
      });
    case "ambiguous":
      return new VolumeError(
        "ambiguous",
        `${device} holds something unknown or newer where its superblock belongs (${generationText(verdict.primary)}), ` +
          `but also an intact copy of the superblock of Btrfs ${verdict.mirror.fsid} (${generationText(verdict.mirror)})`,
        { hint: "to bring that filesystem back: --repair always; to start anew: --format any" },
      );
    case "hopeless":
      return new VolumeError(
        "hopeless",
        `${device} held a Btrfs, and no copy of its superblock is intact`,
        { hint: hopelessHint },
      );
    case "blank":
    case "interrupted":
    case "btrfs":
    case "mounted":
      return new VolumeError(
        verdict.kind === "interrupted" ? "interrupted" : "blank",
        `${device} is ${verdict.kind === "interrupted" ? "half formatted" : "blank"} and must not be formatted`,
        { hint: "allow it with --format blank" },
      );
  }
}

/** The rebuilt filesystem must fit this disk as any other must. */
function assertUsable(facts: FilesystemFacts, mirror: Superblock): void {
  const { sizeBytes, bytesNow = sizeBytes } = facts;
  if (facts.hasSeveralDevices ?? mirror.deviceCount > 1n) {
    throw refusal({ ...facts, verdict: { kind: "multi-device", superblock: mirror } });
  }
  if (mirror.deviceBytes > BigInt(bytesNow)) {
    throw refusal({ ...facts, verdict: { kind: "shrunk", superblock: mirror } });
  }
}

/** A volume is written to. */
export function assertNoSeed(device: string, superblock: Superblock): void {
  if (!isSeed(superblock)) return;
  throw new VolumeError("read-only", `${device} is a seed device, which is never written to`, {
    hint: `choose another disk; to make it writable, if nothing grew from it and it is not mounted: btrfstune -S 0 ${shellWord(device)}`,
  });
}

const repairable: Record<RepairPolicy, readonly Verdict["kind"][]> = {
  never: [],
  auto: ["damaged"],
  always: ["damaged", "wiped", "ambiguous"],
};

const formattable: Record<FormatPolicy, readonly Verdict["kind"][]> = {
  never: [],
  blank: ["blank", "interrupted"],
  any: ["blank", "interrupted", "foreign", "unknown", "wiped", "ambiguous", "hopeless"],
};

/**
 * The decision that can lose data, as a pure function. Throws the VolumeError of a refusal.
 * A repair that is allowed goes before a format that is allowed: it keeps the data.
 */
export function decideFilesystem(facts: FilesystemFacts): FilesystemAction {
  const { device, sizeBytes, readOnly, verdict, format, repair } = facts;
  const assertWritable = (): void => {
    if (!readOnly) return;
    throw new VolumeError("read-only", `${device} is read-only`, {
      hint: "the data volume must be writable: attach the disk without its read-only flag",
    });
  };

  assertNoOtherFormat(facts);
  if (verdict.kind === "btrfs" || verdict.kind === "mounted") {
    assertWritable();
    if (verdict.kind === "btrfs") assertNoSeed(device, verdict.superblock);
    return { kind: "keep" };
  }
  if (
    (verdict.kind === "damaged" || verdict.kind === "wiped" || verdict.kind === "ambiguous") &&
    repairable[repair].includes(verdict.kind)
  ) {
    assertUsable(facts, verdict.mirror);
    assertWritable();
    assertNoSeed(device, verdict.mirror);
    return { kind: "repair", primary: verdict.primary, mirror: verdict.mirror };
  }
  if (formattable[format].includes(verdict.kind) && !isIntact(verdict)) {
    assertWritable();
    const leastBytes = leastBytesFor(facts.mkfs ?? {});
    if (sizeBytes < leastBytes) {
      const [size, least] = comparedSizes(sizeBytes, leastBytes);
      throw new VolumeError("too-small", `${device} is ${size}; a Btrfs needs at least ${least}`, {
        hint: "choose a larger disk",
      });
    }
    return { kind: "format", overwrite: verdict.kind !== "blank" };
  }
  throw refusal(facts);
}

/** The step as the report words it, the same in a plan and afterwards. */
export function filesystemResult(action: FilesystemAction, verdict: Verdict): StepResult {
  switch (action.kind) {
    case "format":
      return { outcome: "changed", detail: `${verdict.kind}: formatted as Btrfs` };
    case "repair":
      return { outcome: "changed", detail: `${verdict.kind}: superblock rebuilt from its copy` };
    case "keep": {
      const detail = verdict.kind === "mounted" ? "Btrfs, already mounted" : "Btrfs";
      return { outcome: "kept", detail };
    }
  }
}

/** The same for a sound filesystem beside the record of the format that made it. */
export const staleIntentResult: StepResult = {
  outcome: "changed",
  detail: "Btrfs, the record of its finished format removed",
};
