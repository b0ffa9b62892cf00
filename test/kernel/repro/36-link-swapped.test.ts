import type { Kernel } from "../../../src/linux/kernel.ts";
import { expect, test } from "bun:test";
import { renameSync, symlinkSync } from "node:fs";
import { OverridableKernel } from "../../kit/overridable-kernel.ts";
import type { ProgramResult } from "../../../src/linux/kernel.ts";
import * as ups from "../../../src/volume/up.ts";
import { fails, reported, start, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { fingerprint, GiB, MiB, nonZeroBlocks, writeAt } from "../../kit/image.ts";
import { replaceMkfs } from "../../kit/mkfs.ts";
import { mountsUnder } from "../../kit/mountinfo.ts";
import { ownDev } from "../../kit/own-dev.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { expectMounted, markerIsThere, preparedDisk } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** A link that leads to a disk, and how somebody turns it to another one. */
function linkTo(
  box: Sandbox,
  { device }: Disk,
): { readonly link: string; turn: (to: Disk) => void } {
  const link = box.path("link");
  symlinkSync(device, link);
  return {
    link,
    turn(to) {
      symlinkSync(to.device, `${link}.new`);
      renameSync(`${link}.new`, link);
    },
  };
}

/** Somebody's data, of which no sample of the disk shows anything. */
function somebodys(box: Sandbox): Disk {
  const disk = box.disk(GiB);
  for (const place of [5, 30, 70, 100, 200]) {
    writeAt(disk.image, place * MiB + 8192, crypto.getRandomValues(new Uint8Array(4096)));
  }
  return disk;
}

/** Turns the link before or after a call of the program to the kernel. */
class Meddled extends OverridableKernel {
  onRun: (() => void) | null = null;
  onMount: (() => void) | null = null;

  override run(program: string, args: readonly string[], fds: readonly number[]): ProgramResult {
    this.onRun?.();
    return super.run(program, args, fds);
  }

  override mount(...args: Parameters<Kernel["mount"]>): void {
    if (args[2] === "btrfs" && !args[0].includes("no-such-device")) this.onMount?.();
    super.mount(...args);
  }
}

const silent = (): void => undefined;

test("a link that is turned when mkfs starts has no other disk formatted", async () => {
  const box = sandbox();
  const [asked, other] = [box.disk(GiB), somebodys(box)];
  const before = fingerprint(other.image);
  const { link, turn } = linkTo(box, asked);
  const turned = replaceMkfs(box, `ln -sfn '${other.device}' '${link}'; exec "$REAL" "$@"`);
  const { report } = await reported(
    "up",
    start(["volume", "up", "--json", "--root", box.root, "--device", link]).done,
  );
  turned.restore();
  Bun.spawnSync(["blockdev", "--flushbufs", other.device]);
  expect(fingerprint(other.image)).toBe(before);
  // What was formatted is the disk that was judged; that the name is another's by now is told.
  expect(nonZeroBlocks(asked.image)).not.toBeEmpty();
  expect(report.error?.code ?? "none").toBe("busy");
  expect(mountsUnder(box.root)).toBeEmpty();
  turn(asked);
  expect((await volume(box, "up", ["--device", link])).report.verdict).toBe("btrfs");
});

test("a link that is turned between the verdict and the call of mkfs", () => {
  const box = sandbox();
  const [asked, other] = [box.disk(GiB), somebodys(box)];
  const before = fingerprint(other.image);
  const { link, turn } = linkTo(box, asked);
  const kernel = new Meddled();
  kernel.onRun = () => turn(other);
  expect(ups.up(kernel, { device: link, root: box.root }, silent).error?.code).toBe("busy");
  Bun.spawnSync(["blockdev", "--flushbufs", other.device]);
  expect(fingerprint(other.image)).toBe(before);
});

test("a link that is turned when the volume is mounted has no other volume mounted", async () => {
  const box = sandbox();
  const [asked, other] = [await preparedDisk(box), await preparedDisk(box)];
  const before = fingerprint(other.image);
  const { link, turn } = linkTo(box, asked);
  const kernel = new Meddled();
  kernel.onMount = () => {
    kernel.onMount = null;
    turn(other);
  };
  const report = ups.up(kernel, { device: link, root: box.root }, silent);
  expect(report.error).toBeUndefined();
  const found = expectMounted(box.root);
  expect(new Set(found.map(({ source }) => source))).toEqual(new Set([asked.device]));
  expect(markerIsThere(box)).toBeTrue();
  expect(fingerprint(other.image)).toBe(before);
});

test("the mount table names the disk by the kernel's name, whatever it was given by", async () => {
  const box = sandbox();
  const asked = await preparedDisk(box);
  const { link } = linkTo(box, asked);
  const { report } = await volume(box, "up", ["--device", link]);
  expect(report).toMatchObject({ device: link, error: null });
  for (const { source } of mountsUnder(box.root)) expect(source).toBe(asked.device);
});

/** Somebody with the right to it makes the kernel's own name lead to another disk. */
test("a node of /dev that is replaced when the volume is mounted: what came is taken away again", async () => {
  const box = sandbox();
  const [asked, other] = [await preparedDisk(box), await preparedDisk(box)];
  ownDev(box, {});
  const kernel = new Meddled();
  kernel.onMount = () => {
    kernel.onMount = null;
    command("mv", "--force", other.device, asked.device);
  };
  const report = ups.up(kernel, { device: asked.device, root: box.root }, silent);
  expect(report.error).toMatchObject({ code: "busy" });
  expect(report.error?.message).toContain("another disk");
  expect(mountsUnder(box.root)).toBeEmpty();
});

test("where /dev lacks the kernel's name of the disk, it is mounted all the same", async () => {
  const box = sandbox();
  const asked = await preparedDisk(box);
  ownDev(box, { data: asked.device });
  command("rm", asked.device);
  for (const verb of ["up", "up", "plan"] as const) {
    const { report } = await volume(box, verb, ["--device", "/dev/data"]);
    expect(report.error).toBeNull();
  }
  expect(markerIsThere(box)).toBeTrue();
  expect((await volume(box, "down", ["--device", "/dev/data"])).report.error).toBeNull();
});

test("the number of a loop device that is used again while its image is opened", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  const other = box.image(GiB);
  class Swapped extends OverridableKernel {
    #isDone = false;
    override open(path: string, flags: number, mode?: number): number {
      // The device was found; it is opened next, and is another image's by then.
      const isNext = path === device && this.#looks > 0 && !this.#isDone;
      if (path === device) this.#looks += 1;
      if (isNext) {
        this.#isDone = true;
        box.detach(device);
        command("losetup", device, other);
      }
      return super.open(path, flags, mode);
    }
    #looks = 0;
  }
  const report = ups.up(new Swapped(), { image, root: box.root }, silent);
  expect(report.error).toMatchObject({ code: "busy" });
  expect(nonZeroBlocks(other)).toBeEmpty();
  expect(mountsUnder(box.root)).toBeEmpty();
  await fails(volume(box, "plan", ["--image", other, "--format", "never"]), "blank");
});
