import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { down, up } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { flipByte, GiB, MiB, writeAt } from "../kit/image.ts";
import { expectRefused } from "../kit/refusal.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { at, PRIMARY } from "../kit/superblock.ts";
import {
  checkFilesystem,
  dockerOf,
  expectMounted,
  filesystemBytes,
  markerIsThere,
  prepare,
} from "../kit/volume.ts";

const sandbox = useSandbox();

const TiB = 1024 * GiB;

test.each([
  ["the smallest that mkfs takes", 114_294_784],
  ["a sector more than 1 GiB", GiB + 512],
  ["an odd number of sectors", 700 * MiB + 3 * 512],
  ["8 TiB", 8 * TiB],
])("a disk of %s comes up and is found sound", async (_, sizeBytes) => {
  const box = sandbox();
  const disk = box.disk(sizeBytes);
  const report = await up(box, "--device", disk.device);
  expect(report.bytes).toBe(sizeBytes);
  expectMounted(box.root);
  expect(filesystemBytes(dockerOf(box))).toBe(sizeBytes - (sizeBytes % 4096));
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
});

function diskWithLargeSectors(box: Sandbox): { image: string; device: string } {
  const image = box.image(GiB);
  return { image, device: box.attach(image, "--sector-size", "4096") };
}

test("a disk with sectors of 4 KiB is formatted, mounted and repaired like any other", async () => {
  const box = sandbox();
  const disk = diskWithLargeSectors(box);
  await prepare(box, disk);
  flipByte(disk.image, PRIMARY + at.generation);
  command("blockdev", "--flushbufs", disk.device);
  const report = await up(box, "--device", disk.device);
  expect(report.verdict).toBe("damaged");
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
});

test("a disk with sectors of 4 KiB that is somebody else's is refused", async () => {
  const box = sandbox();
  const disk = diskWithLargeSectors(box);
  command("mkfs.ext4", "-q", "-F", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "foreign", device: disk.device });
});

test.each([3 * MiB, 333 * MiB, 700 * MiB, GiB - 9 * MiB])(
  "8 MiB of data at %d, as wide as two of the samples, keep a disk from being blank",
  async (offset) => {
    const box = sandbox();
    const disk = box.disk(GiB);
    writeAt(disk.image, offset, randomBytes(8 * MiB));
    await expectRefused(box, ["--device", disk.device], { code: "unknown" });
  },
);
