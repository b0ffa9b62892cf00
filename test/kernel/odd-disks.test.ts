import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { agent, down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { flipByte, GiB, MiB, resize, writeAt } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { at, PRIMARY } from "../kit/superblock.ts";
import {
  dockerOf,
  expectMounted,
  filesystemBytes,
  markerIsThere,
  rawOf,
  writeMarker,
} from "../kit/volume.ts";

/** Disks of sizes that nobody would choose. */
const sandbox = useSandbox();

/** A file that is no multiple of the device's sectors of 4,096 bytes. */
function ragged(box: Sandbox, sizeBytes = 300 * MiB + 1536): Disk {
  const image = box.image(sizeBytes);
  return { image, device: box.attach(image, "--sector-size", "4096") };
}

test.each([512, 1536, 4095])(
  "a disk that ends %d bytes into a sector is used to its last whole one",
  async (rest) => {
    const box = sandbox();
    const disk = ragged(box, 300 * MiB + rest);
    expect((await plan(box, "--device", disk.device)).verdict).toBe("blank");
    expect(await up(box, "--device", disk.device)).toMatchObject({
      verdict: "blank",
      bytes: 300 * MiB,
    });
    expect(filesystemBytes(rawOf(box))).toBe(300 * MiB);
    writeMarker(box);
    expect((await up(box, "--device", disk.device)).outcome).toBe("unchanged");
    expect((await status(box, ["--device", disk.device])).problems).toEqual([]);
    await down(box, "--device", disk.device);
    expect((await plan(box, "--device", disk.device)).verdict).toBe("btrfs");
    await up(box, "--device", disk.device);
    expect(markerIsThere(box)).toBeTrue();
    await down(box, "--device", disk.device);
    command("btrfs", "check", disk.device);
  },
);

test("such a disk is formatted over, repaired and grown as any other", async () => {
  const box = sandbox();
  const disk = ragged(box);
  writeAt(disk.image, 8192, Buffer.from("something"));
  Bun.spawnSync(["blockdev", "--flushbufs", disk.device]);
  await fails(volume(box, "up", ["--device", disk.device]), "unknown");
  await up(box, "--device", disk.device, "--format", "any");
  writeMarker(box);
  await down(box, "--device", disk.device);
  flipByte(disk.image, PRIMARY + at.label);
  Bun.spawnSync(["blockdev", "--flushbufs", disk.device]);
  expect((await up(box, "--device", disk.device)).verdict).toBe("damaged");
  resize(disk.image, 500 * MiB + 512);
  command("losetup", "--set-capacity", disk.device);
  expect(await up(box, "--device", disk.device)).toMatchObject({
    outcome: "changed",
    bytes: 500 * MiB,
  });
  expect(filesystemBytes(rawOf(box))).toBe(500 * MiB);
  expect(markerIsThere(box)).toBeTrue();
});

test("an image that is attached with sectors of 4,096 bytes is found again, and not grown on each run", async () => {
  const box = sandbox();
  const disk = ragged(box, GiB + 1536);
  const named = ["--image", disk.image];
  expect(await up(box, ...named)).toMatchObject({ device: disk.device, bytes: GiB });
  for (const run of [up(box, ...named), plan(box, ...named)]) {
    expect((await run).outcome).toBe("unchanged");
  }
  const grown = await up(box, ...named, "--size", `${2 * GiB + 512}`);
  expect(grown).toMatchObject({ outcome: "changed", bytes: 2 * GiB });
  expect((await up(box, ...named)).outcome).toBe("unchanged");
});

test.each([1, 511, 513, 4097])(
  "an image with %d bytes too many works, and keeps them",
  async (rest) => {
    const box = sandbox();
    const image = box.image(GiB);
    resize(image, GiB + rest);
    await up(box, "--image", image);
    expect((await up(box, "--image", image)).outcome).toBe("unchanged");
    expectMounted(box.root);
    writeFileSync(`${dockerOf(box)}/f`, "x");
    await down(box, "--image", image);
    await up(box, "--image", image);
    expect(readFileSync(`${dockerOf(box)}/f`, "utf8")).toBe("x");
  },
);

test("a disk, an image and a disk named by what is on it, of more than 8 PiB: unsupported", async () => {
  const box = sandbox();
  box.mount("tmpfs", "memory", "-t", "tmpfs");
  const image = box.image(1024, "memory/disk.img");
  command("truncate", "--size=9216T", image);
  const device = box.attach(image);
  for (const named of [
    ["--device", device],
    ["--image", image],
  ]) {
    for (const verb of ["up", "plan", "down"] as const) {
      const run = await volume(box, verb, named);
      expect(run.exitCode).toBe(9);
      expect(run.report.error).toMatchObject({ code: "unsupported" });
      expect(run.report.error?.message).toContain("8 PiB");
    }
    const { exitCode } = await agent(["volume", "status", ...named, "--root", box.root]);
    expect(exitCode).toBe(9);
  }
  // It stands in nobody's way.
  const label = `test-${crypto.randomUUID().slice(0, 8)}`;
  const disk = box.disk(GiB);
  command("mkfs.btrfs", "--quiet", "--label", label, disk.device);
  expect((await plan(box, "--device", `label=${label}`)).device).toBe(disk.device);
  const missing = ["--device", "label=none", "--wait", "0"];
  expect((await fails(volume(box, "plan", missing), "device-missing")).message).toContain(device);
});

test("a disk of a little less than 8 PiB is looked at", async () => {
  const box = sandbox();
  box.mount("tmpfs", "memory", "-t", "tmpfs");
  const image = box.image(1024, "memory/disk.img");
  command("truncate", "--size=8191T", image);
  expect((await plan(box, "--device", box.attach(image))).verdict).toBe("blank");
});
