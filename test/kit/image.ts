import { createHash } from "node:crypto";
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { command } from "./command.ts";
import { dataExtents } from "./libc.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

const BLOCK = 4096;

export function readAt(file: string, offset: number, length: number): Buffer {
  const fd = openSync(file, "r");
  const bytes = Buffer.alloc(length);
  const got = readSync(fd, bytes, 0, length, offset);
  closeSync(fd);
  if (got !== length) throw new Error(`${file}: ${got} of ${length} bytes at ${offset}`);
  return bytes;
}

export function writeAt(file: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(file, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  fsyncSync(fd);
  closeSync(fd);
}

export function flipByte(file: string, offset: number): void {
  const bytes = readAt(file, offset, 1);
  bytes[0] = (bytes[0] ?? 0) ^ 0xff;
  writeAt(file, offset, bytes);
}

export const zeroAt = (file: string, offset: number, length: number): void =>
  writeAt(file, offset, Buffer.alloc(length));

/** Offsets of the blocks of 4 KiB that are not all zero. */
export function nonZeroBlocks(file: string): number[] {
  const found: number[] = [];
  eachNonZeroBlock(file, (offset) => found.push(offset));
  return found;
}

/** A checksum of the whole content. Holes and zeros are the same content, as for a reader. */
export function fingerprint(file: string): string {
  const hash = createHash("sha256");
  const size = eachNonZeroBlock(file, (offset, block) => hash.update(`${offset}:`).update(block));
  return hash.update(`size ${size}`).digest("hex");
}

function eachNonZeroBlock(file: string, visit: (offset: number, block: Buffer) => void): number {
  const fd = openSync(file, "r");
  const { size } = fstatSync(fd);
  const zeros = Buffer.alloc(BLOCK);
  const chunk = Buffer.alloc(4 * MiB);
  for (const { start, end } of dataExtents(fd, size)) {
    const first = start - (start % BLOCK);
    for (let offset = first; offset < end; offset += chunk.length) {
      const got = readSync(fd, chunk, 0, Math.min(chunk.length, end - offset), offset);
      for (let at = 0; at < got; at += BLOCK) {
        const block = chunk.subarray(at, Math.min(at + BLOCK, got));
        if (!block.equals(zeros.subarray(0, block.length))) visit(offset + at, block);
      }
    }
  }
  closeSync(fd);
  return size;
}

export function copySparse(from: string, to: string): void {
  command("cp", "--sparse=always", "--reflink=never", from, to);
}

export const resize = (file: string, size: number): void => truncateSync(file, size);

/** Writes what is in a device's cache to its backing file. */
export function flush(device: string): void {
  const fd = openSync(device, "r");
  fsyncSync(fd);
  closeSync(fd);
}
