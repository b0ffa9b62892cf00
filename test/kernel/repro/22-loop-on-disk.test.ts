import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { down, fails, plan, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { fingerprint, flush, GiB, MiB } from "../../kit/image.ts";
import { expectRefused } from "../../kit/refusal.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { expectMounted, prepare } from "../../kit/volume.ts";

const sandbox = useSandbox();

const inMemory = (box: Sandbox, sizeBytes: number): Disk => {
  box.mount("tmpfs", "memory", "-t", "tmpfs");
  const image = box.image(sizeBytes, "memory/disk.img");
  return { image, device: box.attach(image) };
};

/** A loop device on a part of a disk, which goes before the disk does. */
function partOf(box: Sandbox, { device }: Disk, startMiB: number, sizeMiB: number): string {
  const part = box.attach(
    device,
    ...["--offset", String(startMiB * MiB), "--sizelimit", String(sizeMiB * MiB)],
  );
  box.onEnd(() => box.detach(part));
  return part;
}

function addPartition(box: Sandbox, { device }: Disk, startMiB: number, sizeMiB: number): string {
  command("addpart", device, "1", String(startMiB * 2048), String(sizeMiB * 2048));
  box.onEnd(() => Bun.spawnSync(["delpart", device, "1"]));
  return `${device}p1`;
}

/** Where the samples of a look at 1 TiB do not come. */
const BETWEEN_MIB = 2100;

const everything = ["--format", "any", "--repair", "always"] as const;

async function expectBusy(box: Sandbox, disk: Disk, other: string): Promise<void> {
  const before = fingerprint(disk.image);
  for (const args of [[], everything]) {
    const refused = { code: "busy", names: [other], device: disk.device };
    await expectRefused(box, ["--device", disk.device, ...args], refused);
  }
  expect(fingerprint(disk.image)).toBe(before);
}

test("a disk of 1 TiB of which a loop device shows a part, with its ext4 mounted, is busy", async () => {
  const box = sandbox();
  const disk = inMemory(box, 1024 * GiB);
  const part = partOf(box, disk, BETWEEN_MIB, 800);
  command("mkfs.ext4", "-q", "-F", part);
  const mounted = box.mount(part, "ext4");
  box.onEnd(() => Bun.spawnSync(["umount", mounted]));
  const content = crypto.getRandomValues(new Uint8Array(64 * 1024));
  writeFileSync(`${mounted}/precious`, content, { flush: true });
  for (const verb of ["plan", "up"] as const) {
    const error = await fails(volume(box, verb, ["--device", disk.device, ...everything]), "busy");
    expect(error.message).toContain(part);
  }
  box.umount(mounted);
  command("e2fsck", "-fn", part);
  box.mount(part, "ext4");
  expect(readFileSync(`${mounted}/precious`).equals(content)).toBeTrue();
});

/** What may have a part of a disk in use, without one byte on it that shows; gives the device that it is named by. */
const uses: readonly (readonly [string, (box: Sandbox, disk: Disk) => string])[] = [
  ["a loop device that nobody uses yet", (box, disk) => partOf(box, disk, 200, 100)],
  [
    "a loop device from somewhere to the end",
    (box, { device }) => {
      const part = box.attach(device, "--offset", String(300 * MiB));
      box.onEnd(() => box.detach(part));
      return part;
    },
  ],
  [
    "a loop device on a part of a loop device on the disk",
    (box, disk) => {
      const whole = partOf(box, disk, 0, 1024);
      const part = partOf(box, { ...disk, device: whole }, 200, 100);
      // The one that was attached last has to go first.
      return part;
    },
  ],
  ["a partition without a table entry", (box, disk) => addPartition(box, disk, 200, 100)],
  [
    "a loop device of the same file, with an offset",
    (box, { image }) => box.attach(image, "--offset", String(200 * MiB)),
  ],
];

test.each(uses)("a blank disk of which a part is in use is busy: %s", async (_, use) => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await expectBusy(box, disk, use(box, disk));
});

test.each([
  [
    "swap",
    (box: Sandbox, part: string) => {
      command("mkswap", "--quiet", part);
      command("swapon", part);
      box.onEnd(() => Bun.spawnSync(["swapoff", part]));
    },
  ],
  [
    "a mount",
    (box: Sandbox, part: string) => {
      command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", part);
      const at = box.mount(part, "mounted");
      box.onEnd(() => Bun.spawnSync(["umount", at]));
    },
  ],
] as const)("a volume of which a part is in use by %s is not mounted either", async (_, use) => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await prepare(box, disk);
  const part = partOf(box, disk, 700, 200);
  use(box, part);
  const error = await fails(volume(box, "up", ["--device", disk.device]), "busy");
  expect(error.message).toContain(part);
});

test("what the hint says helps: a partition that nobody needs, a loop device that nobody needs", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  addPartition(box, disk, 200, 100);
  const ofPartition = await fails(volume(box, "up", ["--device", disk.device]), "busy");
  command("sh", "-c", ofPartition.hint?.split(": ")[1] ?? "false");
  const part = box.attach(disk.device, "--offset", String(200 * MiB));
  const ofLoop = await fails(volume(box, "up", ["--device", disk.device]), "busy");
  command("sh", "-c", ofLoop.hint?.split(": ")[1] ?? "false");
  box.detach(part);
  await up(box, "--device", disk.device);
  expectMounted(box.root);
});

test("an idle loop device on a part of a volume is no reason, for nothing but the volume is written", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await prepare(box, disk);
  partOf(box, disk, 700, 200);
  expect((await plan(box, "--device", disk.device)).error).toBeNull();
  await up(box, "--device", disk.device);
  await down(box, "--device", disk.device);
});

test("a partition beside one that is mounted is a disk of its own", async () => {
  const box = sandbox();
  const image = box.image(2 * GiB);
  const device = box.attach(image, "--partscan");
  command("addpart", device, "1", "2048", String((GiB - MiB) / 512));
  command("addpart", device, "2", String(GiB / 512), String(GiB / 512));
  command("mkfs.ext4", "-q", "-F", `${device}p1`);
  const mounted = box.mount(`${device}p1`, "ext4");
  await up(box, "--device", `${device}p2`);
  expectMounted(box.root);
  await down(box, "--device", `${device}p2`);
  // The same bytes by way of a loop device, while that partition is mounted.
  const loop = box.attach(image, "--offset", String(GiB));
  await up(box, "--device", loop);
  await down(box, "--device", loop);
  const over = box.attach(image, "--offset", String(GiB / 2));
  const error = await fails(volume(box, "up", ["--device", over]), "busy", "unknown");
  expect(error.code).toBe("busy");
  box.umount(mounted);
});

test("two parts of one disk are two disks", async () => {
  const box = sandbox();
  const disk = box.disk(2 * GiB);
  const parts = [partOf(box, disk, 0, 1024), partOf(box, disk, 1024, 1024)];
  // Formatted before one is mounted: mkfs.btrfs itself takes them for one disk.
  for (const part of parts) {
    await up(box, "--device", part);
    await down(box, "--device", part);
  }
  const rootOf = (part: string) => ["--root", box.path(part.slice("/dev/".length))];
  for (const part of parts) await up(box, "--device", part, ...rootOf(part));
  for (const part of parts) await down(box, "--device", part, ...rootOf(part));
});

test("an image that the kernel swaps to is busy, attached or not, whatever is asked for", async () => {
  const box = sandbox();
  const image = box.path("swap.img");
  command("fallocate", "--length", String(256 * MiB), image);
  command("chmod", "600", image);
  command("mkswap", "--quiet", image);
  command("swapon", image);
  box.onEnd(() => Bun.spawnSync(["swapoff", image]));
  const error = await fails(volume(box, "up", ["--image", image, ...everything]), "busy");
  expect(error.message).toContain(image);
  expect(error.hint).toContain("swapoff");
  command("sh", "-c", error.hint ?? "false");
  await fails(volume(box, "up", ["--image", image]), "foreign");
});

test("an image of which a part is attached is busy", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const part = box.attach(image, "--offset", String(200 * MiB), "--sizelimit", String(100 * MiB));
  await expectRefused(box, ["--image", image], { code: "busy", names: [part] });
});

test("a partition table that is given away takes its idle partitions with it", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await Bun.write(box.path("table"), "label: gpt\nsize=100M\n");
  command("sh", "-c", `sfdisk --force --quiet '${device}' < '${box.path("table")}'`);
  flush(device);
  command("partx", "--update", device);
  box.onEnd(() => Bun.spawnSync(["partx", "--delete", device]));
  await expectRefused(box, ["--device", device], { code: "foreign" });
  expect((await up(box, "--device", device, "--format", "any")).verdict).toBe("foreign");
  await down(box, "--device", device);
});
