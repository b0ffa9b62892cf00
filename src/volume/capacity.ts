import { deviceInfo, devicesOf, filesystemInfo, replaceTargetId, resize } from "../btrfs/ioctls.ts";
import { errnoName, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import type { StepResult } from "./report.ts";
import { shellWord } from "./shell-word.ts";
import { comparedSizes, sizeText } from "./size.ts";

/** What the kernel says of the mounted filesystem and its one device. */
export interface CapacityFacts {
  readonly deviceBytes: number;
  /** What of the device the filesystem uses. */
  readonly usedBytes: bigint;
  readonly deviceId: bigint;
  readonly sectorBytes: number;
  /** A `btrfs replace` is running: which of its two devices the size is of is not clear until it is done. */
  readonly isReplacing: boolean;
}

/** The refusal of a mounted filesystem that has more devices than one. */
export const severalDevices = (path: string, count: bigint | number): VolumeError =>
  new VolumeError(
    "multi-device",
    `${path} is one of ${count} devices of a Btrfs: not a data volume`,
    {
      hint:
        "choose another disk; if the other one was added to this, take it away again where this is mounted: " +
        "btrfs device remove OTHER FOLDER",
    },
  );

/**
 * Asks the mounted filesystem; throws `multi-device` when it has more than one. `knownBytes` is the size of the
 * device, null where it cannot be seen: then the filesystem is taken to fit it.
 */
export function lookAtCapacity(
  kernel: Kernel,
  mounted: number,
  path: string,
  knownBytes: number | null,
): CapacityFacts {
  const info = filesystemInfo(kernel, mounted);
  const { deviceCount, sectorBytes } = info;
  const devices = devicesOf(kernel, mounted, info);
  // While it is replaced, a device counts twice.
  const [device, ...others] = devices.filter(({ deviceId }) => deviceId !== replaceTargetId);
  if (device === undefined || others.length > 0 || BigInt(devices.length) !== deviceCount) {
    throw severalDevices(path, deviceCount);
  }
  const isReplacing = devices.length > 1;
  const { totalBytes: usedBytes, deviceId } = device;
  const deviceBytes = knownBytes ?? Number(usedBytes);
  return { deviceBytes, usedBytes, deviceId, sectorBytes, isReplacing };
}

/** Growing only: "max" would also shrink a filesystem whose device got smaller. */
export const decideCapacity = (facts: CapacityFacts): "kept" | "grow" =>
  !facts.isReplacing && BigInt(facts.deviceBytes) - facts.usedBytes >= BigInt(facts.sectorBytes)
    ? "grow"
    : "kept";

/** Why a disk that has become smaller than its mounted filesystem is dangerous, and what to do; null of one that is not. */
export function smallerDisk(
  { deviceBytes, usedBytes, deviceId, isReplacing }: CapacityFacts,
  mountPath: string,
): { readonly message: string; readonly hint: string } | null {
  if (isReplacing || BigInt(deviceBytes) >= usedBytes) return null;
  const [disk, filesystem] = comparedSizes(deviceBytes, usedBytes);
  return {
    message:
      `the disk has become smaller (${disk}) than its mounted filesystem ` +
      `(${filesystem}): what is written beyond its end is lost, and the next boot refuses it`,
    hint:
      `stop the daemons, and give the disk back its ${usedBytes} bytes; only where that is impossible, and ` +
      `nothing lies beyond the end yet: btrfs filesystem resize ${deviceId}:max ${shellWord(mountPath)}`,
  };
}

/** Says what of the disk of a mounted filesystem is not as it was made, in a report of `up` or `plan`. */
export function noteDisk(
  facts: CapacityFacts,
  mountPath: string,
  note: (text: string) => void,
): void {
  const smaller = smallerDisk(facts, mountPath);
  if (smaller !== null) note(`ATTENTION: ${smaller.message}; ${smaller.hint}`);
  if (facts.isReplacing) note(replaceText);
}

export const replaceText =
  "a btrfs replace is running: until it is done, the size of the disk is left as it is";

/** What `growToDevice` would do. */
export const planCapacity = (facts: CapacityFacts): StepResult =>
  decideCapacity(facts) === "kept"
    ? { outcome: "kept", detail: sizeText(facts.usedBytes) }
    : { outcome: "changed", detail: grownText(facts, BigInt(facts.deviceBytes)) };

const grownText = ({ usedBytes }: CapacityFacts, to: bigint): string =>
  `grown from ${comparedSizes(usedBytes, to).join(" to ")}`;

/** Grows where it is due. A failure is a note: the old size goes on working. */
export function growToDevice(
  kernel: Kernel,
  mounted: number,
  facts: CapacityFacts,
  note: (text: string) => void,
): StepResult {
  const before = sizeText(facts.usedBytes);
  if (decideCapacity(facts) === "kept") return { outcome: "kept", detail: before };
  const kept = (why: string): StepResult => {
    note(`the filesystem could not grow to ${sizeText(facts.deviceBytes)}: ${why}`);
    return { outcome: "kept", detail: `${before}, could not grow: ${why}` };
  };
  try {
    if (resize(kernel, mounted, facts.deviceId, "max") === "busy") {
      return kept("a balance or a similar operation is running; the next run tries again");
    }
  } catch (error) {
    if (error instanceof SystemError) return kept(errnoName(error.errno));
    throw error;
  }
  const after = deviceInfo(kernel, mounted, facts.deviceId)?.totalBytes ?? facts.usedBytes;
  if (after <= facts.usedBytes) return kept("the kernel left the size as it was");
  return { outcome: "changed", detail: grownText(facts, after) };
}
