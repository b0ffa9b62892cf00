import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { GiB, MiB, resize } from "../kit/image.ts";
import { refreshSize } from "../kit/loops.ts";
import { stepOutcomes } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import {
  btrfsDisk,
  checkFilesystem,
  dockerOf,
  filesystemBytes,
  markerIsThere,
  preparedDisk,
  rawOf,
  writeMarker,
} from "../kit/volume.ts";

const sandbox = useSandbox();

test("an image enlarged between two boots is used whole after the second", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  writeMarker(box);
  await down(box, "--image", image);
  const report = await up(box, "--image", image, "--size", "3G");
  expect(report.bytes).toBe(3 * GiB);
  expect(stepOutcomes(report)).toMatchObject({ filesystem: "kept", capacity: "changed" });
  expect(filesystemBytes(dockerOf(box))).toBe(3 * GiB);
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--image", image);
  expect(superblockFacts(image).deviceBytes).toBe(3 * GiB);
  expect(stepOutcomes(await up(box, "--image", image)).capacity).toBe("kept");
});

test("a disk enlarged between two boots is used whole, past the place of the last mirror too", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  box.detach(disk.device);
  resize(disk.image, 300 * GiB);
  const device = box.attach(disk.image);
  const report = await up(box, "--device", device);
  expect(stepOutcomes(report).capacity).toBe("changed");
  expect(filesystemBytes(dockerOf(box))).toBe(300 * GiB);
  await down(box, "--device", device);
  checkFilesystem({ ...disk, device });
});

test("a mounted volume grows when its device has grown", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  await up(box, "--device", device);
  resize(image, 2 * GiB);
  refreshSize(device);
  const report = await up(box, "--device", device);
  expect(report).toMatchObject({ outcome: "changed", verdict: "mounted", bytes: 2 * GiB });
  expect(stepOutcomes(report)).toMatchObject({ mount: "kept", capacity: "changed" });
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
});

test("a larger --size grows a mounted image", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  const report = await up(box, "--image", image, "--size", "2G");
  expect(stepOutcomes(report)).toMatchObject({ mount: "kept", capacity: "changed" });
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
});

test("an image that somebody else enlarged while it is mounted is used whole", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  resize(image, 2 * GiB);
  const report = await up(box, "--image", image);
  expect(stepOutcomes(report).capacity).toBe("changed");
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
});

test("a smaller --size is ignored with a note, mounted or not", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "2G");
  writeMarker(box);
  const mounted = await up(box, "--image", image, "--size", "1G");
  expect(mounted.outcome).toBe("unchanged");
  expect(mounted.notes.join("\n")).toMatch(/size|smaller|larger/i);
  await down(box, "--image", image);
  const remounted = await up(box, "--image", image, "--size", "1G");
  expect(remounted.bytes).toBe(2 * GiB);
  expect(remounted.notes.join("\n")).toMatch(/size|smaller|larger/i);
  expect(stepOutcomes(remounted)).toMatchObject({ filesystem: "kept", capacity: "kept" });
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
  expect(markerIsThere(box)).toBeTrue();
});

test.each([512, 3584])("%d more bytes, less than a sector, are not growth", async (more) => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  resize(image, GiB + more);
  const report = await up(box, "--device", box.attach(image));
  expect(stepOutcomes(report).capacity).toBe("kept");
});

test("one sector more is growth", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  resize(image, GiB + 4096);
  const report = await up(box, "--device", box.attach(image));
  expect(stepOutcomes(report).capacity).toBe("changed");
  expect(filesystemBytes(dockerOf(box))).toBe(GiB + 4096);
});

test("a device that got smaller while mounted never shrinks the filesystem", async () => {
  const box = sandbox();
  const { image, device } = box.disk(2 * GiB);
  await up(box, "--device", device);
  resize(image, 2 * GiB - 256 * MiB);
  refreshSize(device);
  const report = await up(box, "--device", device);
  expect(stepOutcomes(report).capacity).toBe("kept");
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
  resize(image, 2 * GiB);
  refreshSize(device);
});

test("a volume whose device has the id 2 grows", async () => {
  const box = sandbox();
  const old = btrfsDisk(box);
  const replacement = box.disk(GiB);
  const top = box.mount(old.device, "replace");
  command("btrfs", "device", "add", "--force", replacement.device, top);
  command("btrfs", "device", "remove", old.device, top);
  box.umount(top);
  box.detach(old.device);
  box.detach(replacement.device);
  expect(superblockFacts(replacement.image).deviceId).toBe(2);
  resize(replacement.image, 2 * GiB);
  const report = await up(box, "--device", box.attach(replacement.image));
  expect(stepOutcomes(report)).toMatchObject({ filesystem: "kept", capacity: "changed" });
  expect(report.notes).toBeEmpty();
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
});

test("growth that a paused balance forbids is a note, and the volume comes up", async () => {
  const box = sandbox();
  const { device, image } = box.disk(2 * GiB);
  await up(box, "--device", device);
  writeFileSync(join(dockerOf(box), "data"), Buffer.alloc(256 * MiB, crypto.randomUUID()));
  command("sync", "--file-system", dockerOf(box));
  await pauseBalance(rawOf(box));
  resize(image, 3 * GiB);
  refreshSize(device);
  const report = await up(box, "--device", device);
  expect(report.notes.join("\n")).toMatch(/balance|grow|resize/i);
  expect(filesystemBytes(dockerOf(box))).toBe(2 * GiB);
  command("btrfs", "balance", "cancel", rawOf(box));
  await up(box, "--device", device);
  expect(filesystemBytes(dockerOf(box))).toBe(3 * GiB);
});

/** Pauses a balance as soon as it has begun. */
async function pauseBalance(path: string): Promise<void> {
  const balance = Bun.spawn([tool("btrfs"), "balance", "start", "--full-balance", path], {
    stdout: "ignore",
    stderr: "ignore",
  });
  let paused = false;
  while (!paused && balance.exitCode === null) {
    paused = tryCommand("btrfs", "balance", "pause", path).exitCode === 0;
    await Bun.sleep(0); // lets the exit code arrive
  }
  await balance.exited;
  if (!paused) throw new Error("the balance ended before it could be paused");
}
