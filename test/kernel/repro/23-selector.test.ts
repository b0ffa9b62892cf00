import { expect, test } from "bun:test";
import { closeSync, openSync, writeSync } from "node:fs";
import { down, fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { fingerprint, flush, MiB, readAt, writeAt } from "../../kit/image.ts";
import { lockExclusively } from "../../kit/libc.ts";
import { sealed, withNumber } from "../../kit/own-superblock.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status } from "../../kit/status.ts";
import { MIRROR, PRIMARY, superblockFacts } from "../../kit/superblock.ts";
import { btrfsDisk, markerIsThere, ourMounts, prepare } from "../../kit/volume.ts";

const sandbox = useSandbox();

async function volumeOf(box: Sandbox, label: string): Promise<Disk> {
  const disk = btrfsDisk(box, 512 * MiB, "--label", label);
  await prepare(box, disk);
  return disk;
}

const unique = (): string => `test-${crypto.randomUUID().slice(0, 13)}`;

/**
 * An ext4 whose user filled it with valid copies of another disk's superblock, made for the place of a mirror:
 * one of them stands there.
 */
function forgery(box: Sandbox, { image }: Disk): Disk {
  const disk = box.disk(200 * MiB);
  command("mkfs.ext4", "-q", "-F", "-b", "4096", disk.device);
  const folder = box.mount(disk.device, "other");
  const block = sealed(withNumber(readAt(image, PRIMARY, 4096), "bytenr", BigInt(MIRROR)));
  const content = Buffer.concat(Array.from({ length: 256 }, () => block));
  const fd = openSync(`${folder}/file`, "wx");
  try {
    for (;;) writeSync(fd, content);
  } catch (error) {
    expect(String(error)).toContain("ENOSPC");
  } finally {
    closeSync(fd);
  }
  box.umount(folder);
  flush(disk.device);
  expect(readAt(disk.image, MIRROR, 4096)).toEqual(Buffer.from(block));
  return disk;
}

test("a file with forged superblocks on another disk answers for no volume", async () => {
  const box = sandbox();
  const label = unique();
  const disk = await volumeOf(box, label);
  const { uuid } = superblockFacts(disk.image);
  const other = forgery(box, disk);
  const before = fingerprint(other.image);
  for (const name of [`uuid=${uuid}`, `label=${label}`]) {
    expect((await up(box, "--device", name)).device).toBe(disk.device);
    expect(markerIsThere(box)).toBeTrue();
    await down(box, "--device", name);
  }
  box.detach(disk.device);
  for (const name of [`uuid=${uuid}`, `label=${label}`]) {
    const args = ["--device", name, "--wait", "0"];
    for (const verb of ["up", "plan", "down"] as const) {
      await fails(volume(box, verb, args), "device-missing");
    }
    await fails(
      volume(box, "up", [...args, "--format", "any", "--repair", "always"]),
      "device-missing",
    );
    expect((await status(box, ["--device", name])).state).toBe("absent");
  }
  expect(fingerprint(other.image)).toBe(before);
  expect(ourMounts(box)).toBeEmpty();
});

test("with its table lost, such a disk answers for nothing either", async () => {
  const box = sandbox();
  const disk = await volumeOf(box, unique());
  const { uuid } = superblockFacts(disk.image);
  const other = forgery(box, disk);
  command("dd", "if=/dev/zero", `of=${other.device}`, "bs=1M", "count=1", "conv=fsync");
  expect((await up(box, "--device", `uuid=${uuid}`)).device).toBe(disk.device);
  await down(box, "--device", `uuid=${uuid}`);
  box.detach(disk.device);
  const args = ["--device", `uuid=${uuid}`, "--repair", "always", "--wait", "0"];
  await fails(volume(box, "up", args), "device-missing");
});

test("a primary inside another filesystem does not compete with the disk itself", async () => {
  const box = sandbox();
  const disk = await volumeOf(box, unique());
  const { uuid } = superblockFacts(disk.image);
  const other = box.disk(200 * MiB);
  command("mkfs.ext4", "-q", "-F", other.device);
  writeAt(other.image, PRIMARY, readAt(disk.image, PRIMARY, 4096));
  Bun.spawnSync(["blockdev", "--flushbufs", other.device]);
  expect((await up(box, "--device", `uuid=${uuid}`)).device).toBe(disk.device);
  await down(box, "--device", `uuid=${uuid}`);
  box.detach(disk.device);
  const named = ["--device", `uuid=${uuid}`, "--format", "any", "--wait", "0"];
  await fails(volume(box, "up", named), "foreign");
});

test("a wrong copy of a mounted volume's superblock in its own files changes nothing", async () => {
  const box = sandbox();
  const label = unique();
  const disk = await volumeOf(box, label);
  await up(box, "--device", disk.device);
  expect((await up(box, "--device", `label=${label}`)).outcome).toBe("unchanged");
  expect((await status(box, ["--device", `label=${label}`])).state).toBe("up");
  await down(box, "--device", `label=${label}`);
});

test("a disk that takes the name's place before it is locked is not used", async () => {
  const box = sandbox();
  const label = unique();
  const disk = await volumeOf(box, label);
  const unlock = lockExclusively(disk.device);
  const running = volume(box, "up", ["--device", `label=${label}`]);
  await Bun.sleep(400);
  // The label changes while the run waits for the lock.
  command("btrfs", "filesystem", "label", disk.device, "another");
  flush(disk.device);
  unlock();
  const error = await fails(running, "busy");
  expect(error.message).toContain(`label=${label}`);
  expect(ourMounts(box)).toBeEmpty();
});
