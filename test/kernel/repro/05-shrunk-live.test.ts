import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, plan, up, volume } from "../../kit/agent.ts";
import { command, tryCommand } from "../../kit/command.ts";
import { GiB, MiB, resize } from "../../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status, statusLines } from "../../kit/status.ts";
import { dockerOf, ourMounts, rawOf } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** A volume of 2 GiB that is up, on a disk that somebody has made smaller since. */
async function shrunkLive(box: Sandbox, sizeBytes = GiB): Promise<Disk> {
  const disk = box.disk(2 * GiB);
  await up(box, "--device", disk.device);
  setSize(disk, sizeBytes);
  return disk;
}

function setSize({ image, device }: Disk, sizeBytes: number): void {
  resize(image, sizeBytes);
  command("losetup", "--set-capacity", device);
}

const loud = /ATTENTION.*1 GiB.*2 GiB/;

test("`up` and `plan` say loudly that the disk has become smaller than its filesystem", async () => {
  const box = sandbox();
  const { device } = await shrunkLive(box);
  for (const report of [await plan(box, "--device", device), await up(box, "--device", device)]) {
    expect(report.outcome).toBe("unchanged");
    expect(report.notes.join("\n")).toMatch(loud);
  }
});

test("one sector less is enough, and a part of a sector more is nothing", async () => {
  const box = sandbox();
  const disk = await shrunkLive(box, 2 * GiB - 4096);
  const args = ["--device", disk.device];
  expect((await up(box, ...args)).notes.join()).toMatch(/ATTENTION/);
  expect((await status(box, args)).problems[0]).toMatchObject({ code: "shrunk" });
  setSize(disk, 2 * GiB + 512);
  expect((await up(box, ...args)).notes).toBeEmpty();
  expect(await status(box, args)).toMatchObject({ healthy: true, problems: [] });
});

test("`status` says it first, and promises nothing beyond the end of the disk", async () => {
  const box = sandbox();
  const { device } = await shrunkLive(box);
  const answer = await status(box, ["--device", device]);
  expect(answer.bytes).toMatchObject({ device: GiB, filesystem: 2 * GiB });
  expect((answer.bytes.writable ?? GiB) + (answer.bytes.used ?? 0)).toBeLessThan(GiB);
  expect(answer.problems[0]).toMatchObject({ code: "shrunk", level: "critical" });
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[0]).not.toMatch(/healthy/);
  expect(lines[1]).toMatch(/^! .*1 GiB.*2 GiB/);
});

test("nothing at all is promised where data lies beyond the end already", async () => {
  const box = sandbox();
  const disk = box.disk(2 * GiB);
  await up(box, "--device", disk.device);
  writeFileSync(join(dockerOf(box), "file"), randomBytes(1200 * MiB));
  command("sync", "--file-system", rawOf(box));
  setSize(disk, GiB);
  expect((await status(box, ["--device", disk.device])).bytes.writable).toBe(0);
});

/** Writes until the disk ends, and lets somebody else be told of it. */
async function writtenBeyond(box: Sandbox): Promise<Disk> {
  const disk = box.disk(512 * MiB);
  await up(box, "--device", disk.device);
  setSize(disk, 256 * MiB);
  tryCommand("dd", "if=/dev/urandom", `of=${join(dockerOf(box), "file")}`, "bs=1M", "count=300");
  // Whoever asks first is told of the error; whoever asks then is told that all is well.
  for (const _ of [1, 2]) tryCommand("sync", "--file-system", rawOf(box));
  return disk;
}

test("`down` calls nothing clean after a write beyond the end failed", async () => {
  const box = sandbox();
  const { device } = await writtenBeyond(box);
  const answer = await status(box, ["--device", device]);
  expect(answer.problems[0]).toMatchObject({ code: "shrunk", level: "critical" });
  const report = await down(box, "--device", device);
  expect(JSON.stringify(report.steps)).not.toMatch(/clean/);
  expect(report.notes.join("\n")).toMatch(/ATTENTION/);
  expect(ourMounts(box)).toBeEmpty();
});

test("nor after a write that failed while the filesystem goes on", async () => {
  const box = sandbox();
  const disk = await writtenBeyond(box);
  setSize(disk, 512 * MiB);
  const answer = await status(box, ["--device", disk.device]);
  if (answer.readOnly === true) return;
  expect(answer.problems[0]).toMatchObject({ code: "disk-errors" });
  const report = await down(box, "--device", disk.device);
  expect(JSON.stringify(report.steps)).not.toMatch(/clean/);
  expect(report.notes.join("\n")).toMatch(/ATTENTION.*failed writes/);
});

test("the hint, done as it is written, helps: the old size back", async () => {
  const box = sandbox();
  const disk = await shrunkLive(box);
  const { device } = disk;
  const [problem] = (await status(box, ["--device", device])).problems;
  const bytes = /give the disk back its (\d+) bytes/.exec(problem?.hint ?? "")?.[1];
  setSize(disk, Number(bytes));
  expect((await up(box, "--device", device)).notes).toBeEmpty();
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true });
  await down(box, "--device", device);
});

test("the other half of the hint helps where the old size is gone for good", async () => {
  const box = sandbox();
  const { device } = await shrunkLive(box);
  writeFileSync(join(dockerOf(box), "file"), "precious");
  const [problem] = (await status(box, ["--device", device])).problems;
  const line = /btrfs filesystem resize \S+ \S+/.exec(problem?.hint ?? "")?.[0] ?? "false";
  command("bash", "-c", line);
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true });
  await down(box, "--device", device);
  expect((await up(box, "--device", device)).notes).toBeEmpty();
  expect(await Bun.file(join(dockerOf(box), "file")).text()).toBe("precious");
});

test("an image that was cut while it is attached is a disk that was made smaller", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "2G");
  resize(image, GiB);
  for (const report of [await plan(box, "--image", image), await up(box, "--image", image)]) {
    expect(report.notes.join("\n")).toMatch(loud);
  }
  const answer = await status(box, ["--image", image]);
  expect(answer.problems[0]).toMatchObject({ code: "shrunk" });
});

test("the next boot on the smaller disk refuses it, and says both sizes", async () => {
  const box = sandbox();
  const { device } = await shrunkLive(box);
  await down(box, "--device", device);
  const error = await fails(volume(box, "up", ["--device", device]), "shrunk");
  expect(error.message).toContain(String(2 * GiB));
});
