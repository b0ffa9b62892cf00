import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, up, volume } from "../kit/agent.ts";
import { command, tryCommand } from "../kit/command.ts";
import { flipByte, flush, GiB, KiB, MiB, resize } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { type Status, status } from "../kit/status.ts";
import { at, MIRROR, readSuperblock } from "../kit/superblock.ts";
import {
  dockerOf,
  expectMounted,
  markerIsThere,
  preparedDisk,
  rawOf,
  writeMarker,
} from "../kit/volume.ts";

/** What `status` finds wrong with a volume, and its hint done as it is written. */

const sandbox = useSandbox();

type Problem = Status["problems"][number];

const problemsOf = async (box: Sandbox, device: string): Promise<Status["problems"]> =>
  (await status(box, ["--device", device])).problems;

async function problemOf(box: Sandbox, device: string, code: string): Promise<Problem> {
  const problem = (await problemsOf(box, device)).find((one) => one.code === code);
  if (problem === undefined) throw new Error(`no problem ${code}`);
  return problem;
}

/** The command in a hint that begins with these words. */
function commandIn({ hint }: Problem, start: string): string {
  const from = hint.indexOf(start);
  if (from < 0) throw new Error(`no "${start}" in: ${hint}`);
  return hint.slice(from).split(";")[0] ?? "";
}

const obey = (problem: Problem, start: string): void => {
  command("bash", "-e", "-c", commandIn(problem, start));
};

const canWrite = (box: Sandbox): boolean => {
  try {
    writeFileSync(join(dockerOf(box), "written"), "written", { flush: true });
    return true;
  } catch {
    return false;
  }
};

test("superblock-copy: the scrub that is named writes a bad copy anew, mounted or not", async () => {
  const box = sandbox();
  const { device, image } = await preparedDisk(box);
  const damage = (): void => {
    flush(device);
    flipByte(image, MIRROR + at.label);
    command("blockdev", "--flushbufs", device);
  };
  damage();
  const atRest = await problemOf(box, device, "superblock-copy");
  expect(atRest.hint).toStartWith("volume up, then: ");
  // Coming up writes nothing, so the copy is as bad as it was.
  await up(box, "--device", device);
  const mounted = await problemOf(box, device, "superblock-copy");
  expect(commandIn(mounted, "btrfs scrub")).toBe(commandIn(atRest, "btrfs scrub"));
  tryCommand("bash", "-c", commandIn(mounted, "btrfs scrub"));
  flush(device);
  expect(await problemsOf(box, device)).not.toContainEqual(
    expect.objectContaining({ code: "superblock-copy" }),
  );
  await down(box, "--device", device);
  expect(readSuperblock(image, MIRROR).readUInt8(at.label)).toBe("a".charCodeAt(0));
});

/** Fills the data of a volume, and says when no more can be written. */
async function filled(box: Sandbox): Promise<Disk> {
  const disk = await preparedDisk(box, 256 * MiB);
  await up(box, "--device", disk.device);
  mkdirSync(join(dockerOf(box), "image"));
  for (const bytes of [8 * MiB, MiB, 64 * KiB, 4 * KiB]) {
    for (let file = 0; ; file += 1) {
      const path = join(dockerOf(box), "image", `${bytes}-${file}`);
      if (tryCommand("dd", "if=/dev/urandom", `of=${path}`, `bs=${bytes}`, "count=1").exitCode) {
        break;
      }
    }
    tryCommand("sync", "--file-system", rawOf(box));
  }
  return disk;
}

test("full: removing an image helps", async () => {
  const box = sandbox();
  const { device } = await filled(box);
  const { hint } = await problemOf(box, device, "full");
  expect(hint).toContain("remove images or volumes");
  rmSync(join(dockerOf(box), "image"), { recursive: true });
  command("sync", "--file-system", rawOf(box));
  expect(await problemsOf(box, device)).toBeEmpty();
  expect(canWrite(box)).toBeTrue();
});

test("full: a larger disk and `volume up` help", async () => {
  const box = sandbox();
  const { device, image } = await filled(box);
  const { hint } = await problemOf(box, device, "full");
  expect(hint).toContain("make the disk larger, then: volume up");
  resize(image, GiB);
  command("losetup", "--set-capacity", device);
  await up(box, "--device", device);
  expect(await problemsOf(box, device)).toBeEmpty();
  expect(canWrite(box)).toBeTrue();
});

const readOnlyBy: readonly (readonly [string, (box: Sandbox) => void])[] = [
  ["the whole filesystem", (box) => command("mount", "-o", "remount,ro", rawOf(box))],
  ["one mount", (box) => command("mount", "-o", "remount,bind,ro", dockerOf(box))],
  [
    "one mount and the whole filesystem",
    (box) => {
      command("mount", "-o", "remount,bind,ro", dockerOf(box));
      command("mount", "-o", "remount,ro", rawOf(box));
    },
  ],
];

test.each(readOnlyBy)("read-only by hand, %s: the remount makes it writable", async (_, make) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  make(box);
  await fails(volume(box, "up", ["--device", device]), "read-only");
  obey(await problemOf(box, device, "read-only"), "mount -o remount");
  expect(await problemsOf(box, device)).toBeEmpty();
  expectMounted(box.root);
  expect(canWrite(box)).toBeTrue();
});

test("read-only somewhere else: the remount lets it come up", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  box.mount(device, "elsewhere", "-o", "ro,noatime,compress=zstd:1,discard=async");
  await fails(volume(box, "up", ["--device", device]), "read-only");
  obey(await problemOf(box, device, "read-only"), "mount -o remount");
  await up(box, "--device", device);
  expect(await problemsOf(box, device)).toBeEmpty();
});

test("a mounted seed is told by name, and made writable by what is named", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  command("btrfstune", "-f", "-S", "1", device);
  flush(device);
  const top = box.mount(device, "top", "-o", "ro");
  const problem = await problemOf(box, device, "read-only");
  expect(problem.message).toContain("seed");
  box.umount(top);
  const told = await problemOf(box, device, "read-only");
  expect(told).toEqual(problem);
  // It asks, and "-f" is the answer.
  command("bash", "-c", `yes | ${commandIn(problem, "btrfstune")}`);
  flush(device);
  await up(box, "--device", device);
  expect(markerIsThere(box)).toBeTrue();
});

test("forced-read-only: down and up, once what dmesg tells of is mended", async () => {
  const box = sandbox();
  // Where the host has nothing left, the disk gives errors for what was never written before.
  const host = box.mount("tmpfs", "host", "-t", "tmpfs", "-o", "size=24M");
  const image = join(host, "disk.img");
  command("truncate", "--size=512M", image);
  const device = box.attach(image);
  await up(box, "--device", device);
  writeMarker(box);
  command("sync", "--file-system", rawOf(box));
  tryCommand("dd", "if=/dev/urandom", `of=${join(dockerOf(box), "lost")}`, "bs=1M", "count=60");
  const folders = Array.from({ length: 3000 }, (_, i) => join(dockerOf(box), `folder${i}`));
  tryCommand("mkdir", ...folders);
  tryCommand("sync", "--file-system", rawOf(box));
  const problem = await problemOf(box, device, "forced-read-only");
  expect(problem.hint).toContain("dmesg");
  expect(problem.hint).toEndWith("volume down, volume up");
  expect(canWrite(box)).toBeFalse();
  await fails(volume(box, "up", ["--device", device]), "no-space");

  command("mount", "-o", "remount,size=1G", host);
  await down(box, "--device", device);
  await up(box, "--device", device);
  expect(markerIsThere(box)).toBeTrue();
  expect(canWrite(box)).toBeTrue();
  expect((await problemsOf(box, device)).map(({ code }) => code)).not.toContain("forced-read-only");
});

/** A volume with a file of which the disk has changed a byte. */
async function rotten(box: Sandbox): Promise<Disk & { readonly file: string }> {
  const disk = await preparedDisk(box);
  await up(box, "--device", disk.device);
  const file = join(dockerOf(box), "file");
  const content = randomBytes(64 * KiB);
  writeFileSync(file, content);
  await down(box, "--device", disk.device);
  flush(disk.device);
  flipByte(disk.image, readFileSync(disk.image).indexOf(content.subarray(0, 64)) + 100);
  command("blockdev", "--flushbufs", disk.device);
  await up(box, "--device", disk.device);
  expect(() => readFileSync(file)).toThrow("EIO");
  return { ...disk, file };
}

test("disk-errors: the scrub finds what is damaged, and the reset counts anew once it is gone", async () => {
  const box = sandbox();
  const { device, file } = await rotten(box);
  const problem = await problemOf(box, device, "disk-errors");
  const scrub = commandIn(problem, "btrfs scrub");
  const damaged = tryCommand("bash", "-c", scrub);
  expect(damaged.exitCode).not.toBe(0);
  expect(damaged.stdout + damaged.stderr).toMatch(/csum=1|Uncorrectable:\s+1/);
  rmSync(file);
  command("sync", "--file-system", rawOf(box));
  command("bash", "-c", scrub);
  obey(problem, "btrfs device stats --reset");
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true, problems: [] });
});
