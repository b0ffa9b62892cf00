import { primaryOffset, type Superblock, superblockBytes } from "../btrfs/superblock.ts";
import { alignedBuffer } from "../linux/aligned-buffer.ts";
import { procPath, readExactly, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECT, O_RDONLY } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { differences } from "./rebuilt-primary.ts";
import { writeDurably } from "./write.ts";

/**
 * Reads the damaged block again past the page cache, which may hold a torn or stale copy, and
 * throws when it is not what the decision was made from.
 */
function assertStillDamaged(kernel: Kernel, device: number, damaged: Superblock): void {
  withFd(kernel, kernel.open(procPath(device), O_RDONLY | O_DIRECT), (fd) => {
    const onDisk = alignedBuffer(superblockBytes);
    if (
      readExactly(kernel, fd, onDisk, primaryOffset) &&
      differences(onDisk, damaged.block) === 0
    ) {
      return;
    }
    throw new VolumeError("busy", "the superblock changed while it was looked at", {
      hint: "see what writes to the disk, then run the command again",
    });
  });
}

/** Behind the checksum: fsid, address, flags and magic. They lie in one sector, which is written as a whole. */
const nameStart = 32;
const nameEnd = 72;

/**
 * Writes the rebuilt superblock to 64 KiB and flushes. First the bytes that name the filesystem: if the
 * power fails then, what is there can still be told to be this filesystem's. The checksum stays what it
 * was, for the next run goes by it to tell whether an fsync log is lost.
 */
export function repairPrimary(
  kernel: Kernel,
  device: number,
  damaged: Superblock,
  rebuilt: Superblock,
): void {
  assertStillDamaged(kernel, device, damaged);
  const name = rebuilt.block.subarray(nameStart, nameEnd);
  writeDurably(kernel, device, [[primaryOffset + nameStart, name]]);
  writeDurably(kernel, device, [[primaryOffset, rebuilt.block]]);
}
