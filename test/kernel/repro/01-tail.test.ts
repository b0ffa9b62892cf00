import { expect, test } from "bun:test";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { down, fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { fingerprint, flush, MiB, readAt } from "../../kit/image.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import {
  checkFilesystem,
  dockerOf,
  expectMounted,
  markerIsThere,
  preparedDisk,
} from "../../kit/volume.ts";

const sandbox = useSandbox();
const SIZE = 256 * MiB;

/** What a disk of 256 MiB ends with when it is somebody else's: the mark, and its place before the end. */
const marks: readonly (readonly [what: string, mark: Uint8Array, beforeEnd: number])[] = [
  ["a GPT backup", Buffer.from("EFI PART"), 512],
  ["md 1.0", Buffer.from("fc4e2ba9", "hex"), 8192],
  ["md 0.90", Buffer.from("fc4e2ba9", "hex"), 65_536],
  ["DDF", Buffer.from("de11de11", "hex"), 512],
  ["Intel's RAID", Buffer.from("Intel Raid ISM Cfg Sig. "), 1024],
  ["DRBD", Buffer.from("8374026b", "hex"), 4096 - 60],
];

/** Fills the volume to its last block with a file of which every 4 KiB has the mark where a disk would have it. */
function fill(path: string, mark: Uint8Array, beforeEnd: number): void {
  const content = randomBytes(MiB);
  for (let at = 4096 - (beforeEnd % 4096 || 4096); at < MiB; at += 4096) content.set(mark, at);
  const fd = openSync(path, "wx");
  try {
    for (;;) writeSync(fd, content);
  } catch (error) {
    expect(String(error)).toContain("ENOSPC");
  } finally {
    closeSync(fd);
  }
}

const endsAsForeign = (image: string, mark: Uint8Array, beforeEnd: number): boolean =>
  readAt(image, SIZE - beforeEnd, mark.length).equals(mark);

/** Metadata in one copy, so that nothing but the file's content lies at the end of the disk. */
function diskThatEndsInData(box: Sandbox): ReturnType<Sandbox["disk"]> {
  const disk = box.disk(SIZE);
  command("mkfs.btrfs", "--quiet", "--metadata", "single", disk.device);
  flush(disk.device);
  return disk;
}

test.each(marks)(
  "%s in the content of a file that fills the volume is no mark of the disk",
  async (_what, mark, beforeEnd) => {
    const box = sandbox();
    const disk = diskThatEndsInData(box);
    await up(box, "--device", disk.device);
    const file = join(dockerOf(box), "f");
    fill(file, mark, beforeEnd);
    command("sync", "--file-system", box.root);
    await down(box, "--device", disk.device);
    flush(disk.device);
    expect(endsAsForeign(disk.image, mark, beforeEnd)).toBeTrue();
    checkFilesystem(disk);

    const before = fingerprint(disk.image);
    const report = await up(box, "--device", disk.device);
    expect(report.verdict).toBe("btrfs");
    expectMounted(box.root);
    await down(box, "--device", disk.device);
    flush(disk.device);
    expect(fingerprint(disk.image)).toBe(before);

    // The bytes stay on the disk when the file is gone.
    await up(box, "--device", disk.device);
    rmSync(file);
    await down(box, "--device", disk.device);
    expect((await up(box, "--device", disk.device, "--format", "any")).verdict).toBe("btrfs");
  },
);

test("a mark in the content of a file formats nothing under any policy", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, SIZE);
  await up(box, "--device", disk.device);
  fill(join(dockerOf(box), "f"), Buffer.from("EFI PART"), 512);
  await down(box, "--device", disk.device);
  for (const policy of ["blank", "any", "never"]) {
    await up(box, "--device", disk.device, "--format", policy);
    expect(markerIsThere(box)).toBeTrue();
    await down(box, "--device", disk.device);
  }
});

test("a GPT over an intact volume is refused under any policy, and the way to start anew helps", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, SIZE);
  command("sh", "-c", `echo "label: gpt" | sfdisk --quiet --force ${disk.device}`);
  flush(disk.device);
  const before = fingerprint(disk.image);
  for (const policy of ["blank", "any"]) {
    const args = ["--device", disk.device, "--format", policy];
    const { report, message, hint } = await fails(volume(box, "up", args), "foreign");
    expect(message).toContain("GPT");
    expect(message).toMatch(/Btrfs [0-9a-f-]{36} "arcbox-data"/);
    expect(hint).toContain(`wipefs -a ${disk.device}`);
    expect(report.mounts).toEqual([]);
  }
  flush(disk.device);
  expect(fingerprint(disk.image)).toBe(before);

  command("wipefs", "-a", disk.device);
  await fails(volume(box, "up", ["--device", disk.device]), "wiped");
  await up(box, "--device", disk.device, "--format", "any");
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeFalse();
});
