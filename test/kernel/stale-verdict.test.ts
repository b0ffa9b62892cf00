import { expect, test } from "bun:test";
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { OverridableKernel } from "../kit/overridable-kernel.ts";
import * as ups from "../../src/volume/up.ts";
import { agent, down, fails, reported, start, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, GiB, MiB, nonZeroBlocks, readAt, writeAt } from "../kit/image.ts";
import { BLKFLSBUF, lockExclusively } from "../kit/libc.ts";
import { replaceMkfs } from "../kit/mkfs.ts";
import { parseReport } from "../kit/report.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { dockerOf, ourMounts, preparedDisk } from "../kit/volume.ts";

/** What is decided must still be true, of the same device, when it is acted on. */
const sandbox = useSandbox();
const data = Buffer.alloc(4096, 0xa7);

test("data that only the page cache of an attached image has yet is not blank", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const fd = openSync(device, "r+");
  writeSync(fd, data, 0, data.length, 0);
  await fails(volume(box, "up", ["--image", image]), "unknown");
  closeSync(fd);
  expect(readAt(image, 0, data.length)).toEqual(data);
});

// The middle of the 101st of 256 parts is a sample, and nothing else is there.
const sample = (100.5 / 256) * GiB;

test.each([
  ["at its head", 1024],
  ["at a sample", sample],
])("a page cache that still shows zeros does not make a disk blank: data %s", async (_, offset) => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const fd = openSync(device, "r");
  command("dd", `if=${device}`, "of=/dev/null", "bs=1M");
  writeAt(image, offset, data);
  await fails(volume(box, "up", ["--device", device]), "unknown");
  closeSync(fd);
  expect(readAt(image, offset, data.length)).toEqual(data);
});

/** Something else writes to the disk when the program is about to take its last look. */
class Meddled extends OverridableKernel {
  readonly #meddle: () => void;
  #looks = 0;

  constructor(meddle: () => void) {
    super();
    this.#meddle = meddle;
  }

  override ioctl(fd: number, request: number, argument: Uint8Array | number): number {
    if (request === BLKFLSBUF) this.#looks += 1;
    if (request === BLKFLSBUF && this.#looks === 2) this.#meddle();
    return super.ioctl(fd, request, argument);
  }
}

test.each([
  ["the head", 1024],
  ["the end of the head", 2 * MiB - 4096],
  ["the superblock's mirror", 64 * MiB + 64],
  ["the tail", GiB - 4096],
])("a disk that somebody writes to after it was found blank is not formatted: %s", (_, offset) => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const bytes = Buffer.concat([Buffer.from("_BHRfS_M"), data]).subarray(0, 4096);
  const kernel = new Meddled(() => writeAt(image, offset, bytes));
  const { error } = ups.up(kernel, { device, root: box.root }, () => undefined);
  expect(error).toMatchObject({ code: "busy", message: expect.stringContaining("from blank to") });
  expect(readAt(image, offset, bytes.length)).toEqual(bytes);
  expect(nonZeroBlocks(image).length).toBeLessThanOrEqual(2);
});

test("a link that is turned while we wait for the lock does not lead to another disk", async () => {
  const box = sandbox();
  const [asked, other] = [box.disk(GiB), box.disk(GiB)];
  writeAt(other.image, 5 * MiB, data);
  const before = [fingerprint(asked.image), fingerprint(other.image)];
  const link = box.path("link");
  symlinkSync(asked.device, link);
  const unlock = lockExclusively(asked.device);
  const running = start(["volume", "up", "--json", "--root", box.root, "--device", link]);
  // It waits once it has the device open: /proc says when.
  const fds = `/proc/${running.child.pid}/fd`;
  const isWaiting = () =>
    Bun.spawnSync(["sh", "-c", `readlink ${fds}/* | grep -qx ${asked.device}`]).exitCode === 0;
  while (!isWaiting() && running.child.exitCode === null) await Bun.sleep(5);
  symlinkSync(other.device, `${link}.new`);
  renameSync(`${link}.new`, link);
  unlock();
  expect((await running.done).exitCode).toBe(8);
  expect([fingerprint(asked.image), fingerprint(other.image)]).toEqual(before);
});

test("a format that mkfs refused does not allow another one later, of what came meanwhile", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const fake = replaceMkfs(box, "exit 1");
  await fails(volume(box, "up", ["--device", device]), "format-failed");
  fake.restore();
  const fd = openSync(device, "r+");
  writeSync(fd, data, 0, data.length, 3 * MiB);
  writeSync(fd, data, 0, data.length, 0);
  fsyncSync(fd);
  closeSync(fd);
  await fails(volume(box, "up", ["--device", device]), "unknown");
  expect(readAt(image, 0, data.length)).toEqual(data);
});

test.each([
  ["128 MiB", 128 * MiB],
  ["512 GiB", 512 * GiB],
])("a format cut short is finished where a mirror stands in the middle: %s", async (_, size) => {
  const box = sandbox();
  const { device } = box.disk(size);
  const fake = replaceMkfs(
    box,
    'exec strace -f -o /dev/null -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=12 "$REAL" "$@"',
  );
  await fails(volume(box, "up", ["--device", device]), "format-failed");
  fake.restore();
  expect((await up(box, "--device", device)).verdict).toBe("interrupted");
  await down(box, "--device", device);
  command("btrfs", "check", device);
});

/** Two devices that show the same bytes. */
const twins: readonly [string, (box: Sandbox) => readonly [device: string, twin: string]][] = [
  [
    "one file attached to two loop devices",
    (box) => {
      const { image, device } = box.disk(GiB);
      return [device, box.attach(image)];
    },
  ],
  [
    "one file of two names attached to two loop devices",
    (box) => {
      const { image, device } = box.disk(GiB);
      linkSync(image, box.path("second.img"));
      return [device, box.attach(box.path("second.img"))];
    },
  ],
  [
    "a loop device on a loop device",
    (box) => {
      const { device } = box.disk(GiB);
      const above = box.attach(device);
      box.onEnd(() => box.detach(above));
      return [device, above];
    },
  ],
  [
    "a loop device and the disk below it",
    (box) => {
      const { device } = box.disk(GiB);
      const above = box.attach(device);
      // It is mounted when the test ends, and goes with its mounts.
      box.onEnd(() => command("losetup", "--detach", above));
      return [above, device];
    },
  ],
  [
    "a partition and a loop device of the part of the file that it is",
    (box) => {
      const image = box.image(GiB);
      const device = box.attach(image, "--partscan");
      command("addpart", device, "1", String(MiB / 512), String((GiB - MiB) / 512));
      return [`${device}p1`, box.attach(image, "--offset", String(MiB))];
    },
  ],
];

test.each(twins)("%s are not mounted both", async (_, devicesOf) => {
  const box = sandbox();
  const [device, twin] = devicesOf(box);
  await up(box, "--device", device);
  const elsewhere = ["--device", twin, "--root", box.path("other")];
  for (const word of ["up", "plan", "down"] as const) {
    const run = await agent(["volume", word, "--json", ...elsewhere]);
    expect(run.exitCode).toBe(8);
    expect(parseReport(run.stdout).error?.message).toContain(`${device} `);
  }
  const { stdout } = await agent(["volume", "status", "--json", ...elsewhere]);
  expect(JSON.parse(stdout).notes.join()).toContain(`${device} `);
  expect(ourMounts(box)).toHaveLength(6);
});

test("two parts of one file are two disks, though one is a copy of the other", async () => {
  const box = sandbox();
  const image = box.image(2 * GiB);
  const whole = ["--sizelimit", String(GiB)];
  const first = box.attach(image, ...whole);
  await up(box, "--device", first);
  await down(box, "--device", first);
  const second = box.attach(image, "--offset", String(GiB), ...whole);
  command("dd", `if=${first}`, `of=${second}`, "bs=1M", "conv=sparse,fsync", "status=none");
  await up(box, "--device", first);
  const other = ["--json", "--device", second, "--root", box.path("other")];
  await succeeds(reported("up", agent(["volume", "up", ...other])));
  await succeeds(reported("down", agent(["volume", "down", ...other])));
});

/** As of a container that has a mount namespace of its own: sysfs shows "/disk.img". */
function outOfSight(box: Sandbox, name: string): string {
  const folder = box.mount("tmpfs", name, "-t", "tmpfs");
  const device = box.attach(box.image(256 * MiB, `${name}/disk.img`));
  // Still mounted then: it goes with the last unmount.
  box.onEnd(() => command("losetup", "-d", device));
  command("umount", "--lazy", folder);
  return device;
}

test("two files of one path, in places that are not seen from here, are two disks", async () => {
  const box = sandbox();
  const [one, other] = [outOfSight(box, "one"), outOfSight(box, "other")];
  const shownAs = (device: string) => command("losetup", "-n", "-O", "BACK-FILE", device).trim();
  expect(shownAs(one)).toBe(shownAs(other));
  const elsewhere = ["--device", other, "--root", box.path("elsewhere")];
  // Formatted first: mkfs.btrfs itself takes them for one.
  await succeeds(volume(box, "up", elsewhere));
  await succeeds(volume(box, "down", elsewhere));
  await up(box, "--device", one);
  await succeeds(volume(box, "up", elsewhere));
});

test("down takes nothing away that somebody mounted over or inside the volume", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const all = ourMounts(box);
  command("mount", "-t", "tmpfs", "over", dockerOf(box));
  expect((await fails(volume(box, "down", ["--device", device]), "busy")).message).toContain(
    dockerOf(box),
  );
  command("umount", dockerOf(box));
  command("mkdir", `${dockerOf(box)}/inside`);
  command("mount", "-t", "tmpfs", "inside", `${dockerOf(box)}/inside`);
  expect((await fails(volume(box, "down", ["--device", device]), "busy")).message).toContain(
    `${dockerOf(box)}/inside`,
  );
  expect(ourMounts(box).filter((path) => !path.includes("inside"))).toEqual(all);
  command("umount", `${dockerOf(box)}/inside`);
  await down(box, "--device", device);
});

test("down of an image that was moved away does not say that nothing is mounted", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  renameSync(image, box.path("moved.img"));
  await fails(volume(box, "down", ["--image", image]), "device-missing");
  await succeeds(volume(box, "down", ["--image", box.path("moved.img")]));
});
