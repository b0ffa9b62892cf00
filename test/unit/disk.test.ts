import { describe, expect, test } from "bun:test";
import { type Kernel, SEEK_DATA } from "../../src/linux/kernel.ts";
import { attachedDisk, type Disk, deviceDisk, fileDisk, withBlock } from "../../src/volume/disk.ts";
import { fakeKernel } from "./support/fake-kernel.ts";

const sizeBytes = 10_000;

/** A device whose byte at each offset is that offset, modulo 251 and never zero. */
const byteAt = (offset: number): number => (offset % 251) + 1;

function kernelOf(endBytes = sizeBytes): Kernel {
  return fakeKernel({
    pread(_fd, buffer, offset) {
      const count = Math.max(0, Math.min(buffer.length, endBytes - offset));
      for (let i = 0; i < count; i++) buffer[i] = byteAt(offset + i);
      return count;
    },
  });
}

const device = deviceDisk(kernelOf(), 3, sizeBytes);
const grownBytes = 20_000;
const block = new Uint8Array(100).fill(0xee);

/** What the bytes of each disk are, said once more. */
const disks: readonly [string, Disk, (offset: number) => number][] = [
  ["a device", device, byteAt],
  ["a file", fileDisk(kernelOf(), 3, sizeBytes, sizeBytes), byteAt],
  [
    "a file that is to grow",
    fileDisk(kernelOf(), 3, sizeBytes, grownBytes),
    (offset) => (offset < sizeBytes ? byteAt(offset) : 0),
  ],
  [
    "an attached file that is to grow",
    attachedDisk(kernelOf(), { fd: 4, fileBytes: sizeBytes }, device, grownBytes),
    (offset) => (offset < sizeBytes ? byteAt(offset) : 0),
  ],
  [
    "an attached file that has grown since, and is to grow more",
    attachedDisk(kernelOf(15_000), { fd: 4, fileBytes: 15_000 }, device, grownBytes),
    (offset) => (offset < 15_000 ? byteAt(offset) : 0),
  ],
  [
    "a device with another block",
    withBlock(device, 4000, block),
    (offset) => (offset >= 4000 && offset < 4100 ? 0xee : byteAt(offset)),
  ],
];

const places = [0, 1, 3900, 3999, 4000, 4099, 9000, 9999, 10_000, 10_001, 15_000, 19_999, 20_000];
const lengths = [0, 1, 100, 512, 4096];

/** What was read before must not show through. */
const used = (length: number): Uint8Array => new Uint8Array(length).fill(0x99);

describe.each(disks)("%s", (_, disk, wanted) => {
  test.each<[string, (length: number) => Uint8Array | undefined]>([
    ["no buffer", () => undefined],
    ["a buffer that is too short", (length) => used(Math.max(0, length - 1))],
    ["a buffer of that length", used],
    ["a longer buffer", (length) => used(length + 4096)],
    ["a part of a buffer", (length) => used(length + 20).subarray(10, length + 10)],
  ])("gives the same bytes into %s", (_what, bufferOf) => {
    for (const offset of places) {
      for (const length of lengths) {
        const there = Math.max(0, Math.min(length, disk.sizeBytes - offset));
        const expected = Array.from({ length: there }, (_byte, i) => wanted(offset + i));
        expect([...disk.read(offset, length, bufferOf(length))]).toEqual(expected);
      }
    }
  });
});

test("a block laid over a disk changes neither the disk nor the block", () => {
  const before = block.slice();
  withBlock(device, 4000, block).read(3950, 100, used(4096));
  expect(block).toEqual(before);
  expect(device.read(4000, 1)).toEqual(Uint8Array.of(byteAt(4000)));
});

test("a buffer is filled and not copied, where it is long enough", () => {
  const buffer = used(512);
  expect(device.read(0, 512, buffer).buffer).toBe(buffer.buffer);
  expect(device.read(0, 513, buffer).buffer).not.toBe(buffer.buffer);
});

test("a device that ends early is an error, whatever the buffer held", () => {
  const short = deviceDisk(kernelOf(5000), 3, sizeBytes);
  expect(() => short.read(4096, 4096, new Uint8Array(4096))).toThrow("EIO");
});

test("a file that shows the same data again and again is an error, and not asked for ever", () => {
  const kernel = fakeKernel({ lseek: (_fd, _offset, whence) => (whence === SEEK_DATA ? 0 : 4096) });
  const disk = fileDisk(kernel, 3, sizeBytes, sizeBytes);
  expect(() => [...(disk.dataRanges?.() ?? [])]).toThrow("EIO");
});

test("there is no disk whose size is no number: each read of it would give nothing, which is blank", () => {
  for (const size of [Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => deviceDisk(kernelOf(), 3, size)).toThrow(RangeError);
    expect(() => fileDisk(kernelOf(), 3, sizeBytes, size)).toThrow(RangeError);
    expect(() => attachedDisk(kernelOf(), { fd: 3, fileBytes: 0 }, device, size)).toThrow(
      RangeError,
    );
  }
});
