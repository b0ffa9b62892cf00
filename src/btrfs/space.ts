import { iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u64 } from "../linux/struct.ts";
import { named } from "./ioctls.ts";

/** uapi/linux/btrfs.h: struct btrfs_ioctl_space_args and its struct btrfs_ioctl_space_info */
const spaceArguments = struct(16, { slots: u64(0), total: u64(8) });
const spaceSlot = struct(24, { flags: u64(0), totalBytes: u64(8), usedBytes: u64(16) });
export const SPACE_INFO = iowr(0x94, 20, spaceArguments.sizeBytes);

/** Types and profiles of block groups: uapi/linux/btrfs_tree.h, BTRFS_BLOCK_GROUP_* */
const types: readonly (readonly [flag: bigint, type: SpaceType])[] = [
  [1n << 49n, "reserve"],
  [5n, "mixed"],
  [1n, "data"],
  [2n, "system"],
  [4n, "metadata"],
];
const profiles: readonly (readonly [flag: bigint, profile: string, copies: number])[] = [
  [1n << 3n, "raid0", 1],
  [1n << 4n, "raid1", 2],
  [1n << 5n, "dup", 2],
  [1n << 6n, "raid10", 2],
  [1n << 7n, "raid5", 1],
  [1n << 8n, "raid6", 1],
  [1n << 9n, "raid1c3", 3],
  [1n << 10n, "raid1c4", 4],
];

/** "reserve" is what the kernel keeps of the metadata for itself. */
export type SpaceType = "data" | "metadata" | "system" | "mixed" | "reserve";

/** What the chunks of one type hold. */
export interface Space {
  readonly type: SpaceType;
  /** "single", "dup", … */
  readonly profile: string;
  /** How often each byte stands on the disk. */
  readonly copies: number;
  /** Room in the chunks, and what of it is used; both count a byte once whatever the profile. */
  readonly totalBytes: bigint;
  readonly usedBytes: bigint;
}

function decodeSlot(bytes: Uint8Array): Space {
  const { flags, totalBytes, usedBytes } = spaceSlot.decode(bytes);
  const type = types.find(([flag]) => (flags & flag) === flag)?.[1] ?? "data";
  const [, profile, copies] = profiles.find(([flag]) => (flags & flag) !== 0n) ?? [0n, "single", 1];
  return { type, profile, copies, totalBytes, usedBytes };
}

/** What is allocated on a mounted filesystem, by type and profile. Needs no privilege. */
export function spaceInfo(kernel: Kernel, mounted: number): readonly Space[] {
  const count = spaceArguments.encode({});
  named("BTRFS_IOC_SPACE_INFO", undefined, () => kernel.ioctl(mounted, SPACE_INFO, count));
  const slots = Number(spaceArguments.decode(count).total);
  const bytes = new Uint8Array(new ArrayBuffer(16 + slots * spaceSlot.sizeBytes));
  spaceArguments.patch(bytes, { slots: BigInt(slots) });
  named("BTRFS_IOC_SPACE_INFO", undefined, () => kernel.ioctl(mounted, SPACE_INFO, bytes));
  const filled = Math.min(slots, Number(spaceArguments.decode(bytes).total));
  return Array.from({ length: filled }, (_, i) =>
    decodeSlot(bytes.subarray(16 + i * spaceSlot.sizeBytes)),
  );
}
