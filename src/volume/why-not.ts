import type { Superblock } from "../btrfs/superblock.ts";
import { namesIn } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { type Diagnosis, diagnose } from "./diagnosis.ts";
import { VolumeError } from "./error.ts";
import { startAnew } from "./filesystem.ts";
import { type FoundOnDisk, missingFeatures, refused, unmountable } from "./mount.ts";
import { shellWord } from "./shell-word.ts";

/** Where a filesystem would be mounted by hand; every Linux has this directory. */
const byHand = "/mnt";

/** The refusal of a filesystem with features that this kernel does not know; null when it knows all. */
function unknownFeatures(
  kernel: Kernel,
  device: string,
  superblock: Superblock,
  cause?: unknown,
): VolumeError | null {
  const missing = missingFeatures(superblock, namesIn(kernel, "/sys/fs/btrfs/features"));
  if (missing.length === 0) return null;
  const why = `it uses features this kernel does not know (${missing.join(", ")})`;
  return refused(device, why, lastly("use a newer kernel", device), cause);
}

/** Where nothing is changed there, the kernel now and then commits nothing, and the next mount fails as before. */
const goBack = (device: string): string =>
  `mount -o rescue=usebackuproot ${device} ${byHand} && touch ${byHand} && umount ${byHand}, then volume up: what was written in the ` +
  "last seconds before the damage is lost";
const copyOff = (device: string): string => `mount -o ro,rescue=all ${device} ${byHand}`;
const noWayBack = "no mount option and no tool gets at the data then: restore a backup";
/** Behind the ways that keep data: no policy formats over a superblock that is intact. */
const lastly = (hint: string, device: string): string => `${hint}; ${startAnew(device)}`;

function explained(device: string, diagnosis: Diagnosis, cause?: unknown): VolumeError {
  const word = shellWord(device);
  switch (diagnosis.kind) {
    case "devices":
      return new VolumeError(
        "multi-device",
        `${device} is one of ${diagnosis.count} devices of a Btrfs: not a data volume`,
        { hint: lastly("choose another disk", device), cause },
      );
    case "chunk-tree":
      return refused(device, "its chunk tree cannot be read", lastly(noWayBack, device), cause);
    case "root-tree":
      return refused(
        device,
        "the tree that names all others cannot be read",
        lastly(
          diagnosis.hasBackup
            ? `an older one is intact: ${goBack(word)}; should it still not come up, copy the data off: ${copyOff(word)}`
            : noWayBack,
          device,
        ),
        cause,
      );
    case "replace":
      return refused(
        device,
        "a btrfs replace was interrupted",
        `cancel it: mount -o degraded ${word} ${byHand} && btrfs replace cancel ${byHand} && umount ${byHand}, ` +
          "then volume up",
        cause,
      );
    case "log":
      return refused(
        device,
        "the log of what was fsynced last cannot be read",
        `btrfs rescue zero-log ${word}, then volume up: what was fsynced in the last seconds before the damage is lost`,
        cause,
      );
    case "trees": {
      const { names, hasBackup } = diagnosis;
      const why = `these trees cannot be read: ${names.join(", ")}`;
      if (names.includes("top-level subvolume")) {
        return refused(device, why, lastly(noWayBack, device), cause);
      }
      const isExtentAlone = names.every((name) => name === "extent");
      const further = isExtentAlone && hasBackup ? `; else ${goBack(word)}` : "";
      const hint = `copy the data off: ${copyOff(word)}${further}`;
      return refused(device, why, lastly(hint, device), cause);
    }
  }
}

/**
 * Whatever can be found on a disk that speaks against mounting it; null where nothing does.
 * @public Loaded where it is needed.
 */
export function whyNot(
  kernel: Kernel,
  device: string,
  { disk, superblock }: FoundOnDisk,
  cause?: unknown,
): VolumeError | null {
  const known =
    unmountable(kernel, device, superblock) ?? unknownFeatures(kernel, device, superblock, cause);
  if (known !== null) return known;
  const diagnosis = diagnose(disk, superblock);
  return diagnosis === null ? null : explained(device, diagnosis, cause);
}
