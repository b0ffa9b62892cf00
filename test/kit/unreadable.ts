import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { command } from "./command.ts";
import { flipByte, flush, GiB, MiB, readAt, resize, writeAt } from "./image.ts";
import { dataExtents } from "./libc.ts";
import type { Disk, Sandbox } from "./sandbox.ts";

const BLOCK = 4096;

/**
 * A disk whose blocks at `offsets` give EIO. Its image is a file on another Btrfs, and there the
 * blocks' data is damaged: the outer filesystem's checksum then fails every read of them, and of
 * nothing else. `fill` may put a filesystem on the disk first.
 */
export function unreadableDisk(
  box: Sandbox,
  sizeBytes: number,
  offsets: readonly number[],
  fill: (device: string) => void = () => undefined,
): Disk {
  const outer = box.disk(2 * GiB);
  command("mkfs.btrfs", "--quiet", "--data", "single", outer.device);
  const mounted = box.mount(outer.device, "outer");
  const image = `${mounted}/inner.img`;
  command("truncate", `--size=${sizeBytes}`, image);
  const filled = box.attach(image);
  fill(filled);
  flush(filled);
  box.detach(filled);
  const blocks = offsets.map((offset) => makeFindable(image, offset));
  box.umount(mounted);
  for (const block of blocks) flipByte(outer.image, find(outer.image, block));
  command("blockdev", "--flushbufs", outer.device);
  box.mount(outer.device, "outer");
  return { image, device: box.attach(image) };
}

/** Content that occurs once: what is there, or if that is zeros, something random. */
function makeFindable(image: string, offset: number): Buffer {
  const there = readAt(image, offset, BLOCK);
  if (!there.equals(Buffer.alloc(BLOCK))) return there;
  const block = randomBytes(BLOCK);
  writeAt(image, offset, block);
  return block;
}

function find(image: string, block: Buffer): number {
  const fd = openSync(image, "r");
  const { size } = fstatSync(fd);
  try {
    for (const { start, end } of dataExtents(fd, size)) {
      const chunk = Buffer.alloc(Math.min(end - start, 256 * MiB));
      readSync(fd, chunk, 0, chunk.length, start);
      const place = chunk.indexOf(block);
      if (place >= 0) return start + place;
    }
  } finally {
    closeSync(fd);
  }
  throw new Error("the block is not in the outer image");
}

/** A disk of which everything from `offset` on gives EIO: its backing file ends there. */
export function disconnectedFrom(box: Sandbox, sizeBytes: number, offset: number): Disk {
  const disk = box.disk(sizeBytes);
  resize(disk.image, offset);
  return disk;
}
