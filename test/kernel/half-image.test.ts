import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { copySparse, fingerprint, flush, GiB, MiB, readAt, resize, writeAt } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { MIRROR, PRIMARY, superblockFacts } from "../kit/superblock.ts";
import { dockerOf, markerIsThere, preparedDisk, rawOf } from "../kit/volume.ts";

const sandbox = useSandbox();

test("an image that was cut short is refused whatever --size says, and not grown over its lost part", async () => {
  const box = sandbox();
  const whole = box.path("whole.img");
  await up(box, "--image", whole, "--size", "1G");
  await down(box, "--image", whole);
  const image = box.path("cut.img");
  copySparse(whole, image);
  resize(image, 400 * MiB);
  const before = fingerprint(image);
  for (const size of [[], ["--size", "1G"], ["--size", "2G"]]) {
    const args = ["--image", image, ...size];
    await fails(volume(box, "plan", args), "shrunk");
    const { hint } = await fails(volume(box, "up", args), "shrunk");
    expect(hint).toContain("copied again");
  }
  expect(fingerprint(image)).toBe(before);
});

test("data behind the end of the loop device, in a file that has grown since, is not taken for zeros", async () => {
  const box = sandbox();
  const image = box.image(256 * MiB);
  box.attach(image);
  resize(image, 512 * MiB);
  const data = randomBytes(MiB);
  for (let at = 300 * MiB; at < 340 * MiB; at += MiB) writeAt(image, at, data);
  await fails(volume(box, "plan", ["--image", image]), "unknown");
  await fails(volume(box, "up", ["--image", image]), "unknown");
  expect(readAt(image, 310 * MiB, MiB)).toEqual(data);
});

test("a mark at the end of a file that has grown behind its loop device is found", async () => {
  const box = sandbox();
  const image = box.image(256 * MiB);
  box.attach(image);
  resize(image, 512 * MiB);
  writeAt(image, 512 * MiB - 512, Buffer.from("EFI PART"));
  await fails(volume(box, "up", ["--image", image]), "foreign");
});

test("a mirror of an earlier time, beyond a filesystem that was made smaller, is not taken unasked", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, 300 * GiB);
  await up(box, "--device", disk.device);
  command("btrfs", "filesystem", "resize", "200G", rawOf(box));
  for (const name of ["a", "b", "c"]) {
    writeFileSync(join(dockerOf(box), name), name);
    command("sync", "--file-system", rawOf(box));
  }
  await down(box, "--device", disk.device);
  flush(disk.device);
  const { generation } = superblockFacts(disk.image);
  for (const place of [PRIMARY, MIRROR]) writeAt(disk.image, place + 700, Buffer.from("X"));
  command("blockdev", "--flushbufs", disk.device);
  const { message } = await fails(volume(box, "up", ["--device", disk.device]), "ambiguous");
  expect(message).toContain(`${generation}`);
});

test("a mark behind the filesystem's end is refused, and what the hint says keeps the data", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, 512 * MiB);
  resize(disk.image, GiB);
  writeAt(disk.image, GiB - 512, Buffer.from("EFI PART"));
  command("losetup", "--set-capacity", disk.device);
  const { hint } = await fails(volume(box, "up", ["--device", disk.device]), "foreign");
  const steps = /mount -t btrfs .*? umount [/]mnt/.exec(hint ?? "")?.[0] ?? "";
  expect(steps).toContain(disk.device);
  command("sh", "-c", steps.replaceAll("/mnt", box.folder("mnt")));
  expect((await up(box, "--device", disk.device)).verdict).toBe("btrfs");
  expect(markerIsThere(box)).toBeTrue();
});

test("a user's file changes nothing of a repair that is asked for, though any may be formatted", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, 256 * MiB);
  writeAt(disk.image, PRIMARY, Buffer.alloc(4096));
  writeAt(disk.image, 256 * MiB - 512, Buffer.from("EFI PART"));
  command("blockdev", "--flushbufs", disk.device);
  const both = ["--device", disk.device, "--repair", "always", "--format", "any"];
  const { steps } = await plan(box, ...both);
  expect(steps.find(({ step }) => step === "filesystem")?.detail).toContain("rebuilt");
  await up(box, ...both);
  expect(markerIsThere(box)).toBeTrue();
});
