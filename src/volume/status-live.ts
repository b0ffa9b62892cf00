import { endOfChunks } from "../btrfs/device-extents.ts";
import { deviceErrors } from "../btrfs/device-stats.ts";
import { deviceInfo } from "../btrfs/ioctls.ts";
import { type Space, spaceInfo } from "../btrfs/space.ts";
import { SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { type CapacityFacts, lookAtCapacity, replaceText } from "./capacity.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import { type HostSpace, isTooSmall } from "./host-space.ts";
import type { Status } from "./status-report.ts";
import { usedBytes, writableBytes } from "./usage.ts";

/** What only the mounted filesystem knows. */
export interface Live extends Pick<Status, "bytes" | "profiles" | "errors"> {
  readonly capacity: CapacityFacts;
}

/** What the disk can keep: null where it may not be looked at. */
interface Ground {
  readonly deviceBytes: number | null;
  readonly hostSpace: HostSpace | null;
}

/** Asks the mounted filesystem; of one that has a second device, gives why it is none of ours. */
export function lookInside(
  { kernel, recorder, note }: Context,
  top: number,
  { deviceBytes, hostSpace }: Ground,
): Live | VolumeError {
  let capacity: CapacityFacts;
  try {
    const name = recorder.device ?? "the device";
    // Where the disk may not be looked at, the filesystem's own size is all that is known.
    capacity = lookAtCapacity(kernel, top, name, deviceBytes);
  } catch (error) {
    if (!(error instanceof VolumeError) || error.code !== "multi-device") throw error;
    note(`${error.message}; volume up refuses it: ${error.hint}`);
    return error;
  }
  if (capacity.isReplacing) note(replaceText);
  const { deviceId, usedBytes: filesystemBytes } = capacity;
  const spaces = spaceInfo(kernel, top);
  const allocatedBytes = deviceInfo(kernel, top, deviceId)?.usedBytes ?? 0n;
  const beyondBytes = bytesBeyondEnd(capacity);
  const unallocated = atLeastZero(filesystemBytes - allocatedBytes - beyondBytes);
  const isCut = beyondBytes > 0n && reachesBeyondEnd(kernel, top, capacity, allocatedBytes);
  return {
    capacity,
    bytes: {
      device: deviceBytes,
      filesystem: Number(filesystemBytes),
      used: Number(usedBytes(spaces)),
      writable: isCut ? 0 : withinHost(Number(writableBytes(spaces, unallocated)), hostSpace),
      unallocated: Number(unallocated),
    },
    profiles: profilesOf(spaces),
    errors: errorsOf(kernel, top, deviceId),
  };
}

const atLeastZero = (bytes: bigint): bigint => (bytes > 0n ? bytes : 0n);

/** What of a filesystem has no disk any more. */
const bytesBeyondEnd = ({ usedBytes: filesystemBytes, deviceBytes }: CapacityFacts): bigint =>
  atLeastZero(filesystemBytes - BigInt(deviceBytes));

/**
 * A chunk lies beyond the end of the disk. Then the next write may go there and be lost.
 */
function reachesBeyondEnd(
  kernel: Kernel,
  top: number,
  { deviceId, deviceBytes }: CapacityFacts,
  allocatedBytes: bigint,
): boolean {
  if (allocatedBytes > BigInt(deviceBytes)) return true;
  try {
    return endOfChunks(kernel, top, deviceId) > BigInt(deviceBytes);
  } catch (error) {
    // Only root may ask.
    if (error instanceof SystemError) return true;
    throw error;
  }
}

/** The disk of a sparse image is no larger than what its host can still give. */
const withinHost = (bytes: number, host: HostSpace | null): number =>
  host !== null && isTooSmall(host) ? Math.min(bytes, host.availableBytes) : bytes;

/** As JSON has them. */
function errorsOf(kernel: Kernel, top: number, deviceId: bigint): NonNullable<Status["errors"]> {
  const { write, read, flush, corruption, generation } = deviceErrors(kernel, top, deviceId);
  return {
    write: Number(write),
    read: Number(read),
    flush: Number(flush),
    corruption: Number(corruption),
    generation: Number(generation),
  };
}

const profilesOf = (spaces: readonly Space[]): Status["profiles"] =>
  spaces
    .filter(({ type }) => type !== "reserve")
    .map(({ type, profile, totalBytes, usedBytes: used }) => ({
      type,
      profile,
      total: Number(totalBytes),
      used: Number(used),
    }));
