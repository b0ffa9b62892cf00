import { type DeviceInfo, deviceInfo, filesystemInfo, resize } from "../btrfs/ioctls.ts";
import { errnoName, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import type { StepResult } from "./report.ts";
import { sizeText } from "./size.ts";

/** What the kernel says of the mounted filesystem and its one device. */
export interface CapacityFacts {
  readonly deviceBytes: number;
  /** What of the device the filesystem uses. */
  readonly usedBytes: bigint;
  readonly deviceId: bigint;
  readonly sectorBytes: number;
}

/** Device ids are handed out upward and never again; a volume has hardly seen this many disks. */
const deviceIdLimit = 4096n;

function onlyDevice(kernel: Kernel, mounted: number, maxDeviceId: bigint): DeviceInfo | null {
  const last = maxDeviceId < deviceIdLimit ? maxDeviceId : deviceIdLimit;
  for (let id = 1n; id <= last; id++) {
    const device = deviceInfo(kernel, mounted, id);
    if (device !== null) return device;
  }
  return null;
}

/** Asks the mounted filesystem; throws `multi-device` when it has more than one. */
export function lookAtCapacity(
  kernel: Kernel,
  mounted: number,
  path: string,
  deviceBytes: number,
): CapacityFacts {
  const { deviceCount, maxDeviceId, sectorBytes } = filesystemInfo(kernel, mounted);
  const device = onlyDevice(kernel, mounted, maxDeviceId);
  if (deviceCount !== 1n || device === null) {
    throw new VolumeError(
      "multi-device",
      `${path} is one of ${deviceCount} devices of a Btrfs: not a data volume`,
      {
        hint: "choose another disk; if the other one was added to this: mount it by hand, then btrfs device remove",
      },
    );
  }
  return { deviceBytes, usedBytes: device.totalBytes, deviceId: device.deviceId, sectorBytes };
}

/** Growing only: "max" would also shrink a filesystem whose device got smaller. */
export const decideCapacity = (facts: CapacityFacts): "kept" | "grow" =>
  BigInt(facts.deviceBytes) - facts.usedBytes >= BigInt(facts.sectorBytes) ? "grow" : "kept";

/** What `growToDevice` would do. */
export const planCapacity = (facts: CapacityFacts): StepResult =>
  decideCapacity(facts) === "kept"
    ? { outcome: "kept", detail: sizeText(facts.usedBytes) }
    : { outcome: "changed", detail: grownText(facts, BigInt(facts.deviceBytes)) };

const grownText = ({ usedBytes }: CapacityFacts, to: bigint): string =>
  `grown from ${sizeText(usedBytes)} to ${sizeText(to)}`;

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
