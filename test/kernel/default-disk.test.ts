import { expect, test } from "bun:test";
import { renameSync, symlinkSync } from "node:fs";
import { fails, plan, start, reported, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, GiB, nonZeroBlocks, writeAt } from "../kit/image.ts";
import { lockExclusively } from "../kit/libc.ts";
import { makeNode, ownDev } from "../kit/own-dev.ts";
import { expectRefused } from "../kit/refusal.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { btrfsDisk, expectMounted, preparedDisk } from "../kit/volume.ts";

/** Nobody named a disk: /dev/arcboxhvc1, or /dev/vdb, which may be there a moment earlier. */
const sandbox = useSandbox();

const SOON_MS = 3000;

test("the hypervisor's disk that comes a moment after a blank /dev/vdb is the one", async () => {
  const box = sandbox();
  const [early, late] = [box.disk(GiB), box.disk(GiB)];
  const dev = ownDev(box, { vdb: early.device });
  const running = volume(box, "up", ["--wait", "30"]);
  await Bun.sleep(700);
  const appeared = performance.now();
  makeNode(`${dev}/new`, late.device);
  renameSync(`${dev}/new`, `${dev}/arcboxhvc1`);
  expect((await succeeds(running)).device).toBe("/dev/arcboxhvc1");
  expect(performance.now() - appeared).toBeLessThan(SOON_MS);
  expectMounted(box.root);
  expect(nonZeroBlocks(early.image)).toBeEmpty();
});

test.each([
  ["blank", () => undefined, "blank"],
  ["somebody's", (image: string) => writeAt(image, 4096, Buffer.from("something")), "unknown"],
] as const)(
  "a /dev/vdb that is %s is only taken once the wait is over",
  async (_, edit, verdict) => {
    const box = sandbox();
    const { device, image } = box.disk(GiB);
    edit(image);
    Bun.spawnSync(["blockdev", "--flushbufs", device]);
    ownDev(box, { vdb: device });
    for (const waitMs of [0, 400]) {
      const { report } = await volume(box, "plan", ["--wait", String(waitMs / 1000)]);
      expect(report).toMatchObject({ device: "/dev/vdb", verdict });
      expect(report.ms).toBeGreaterThanOrEqual(waitMs);
      expect(report.ms).toBeLessThan(waitMs + 2000);
    }
    const report = await volume(box, "up", ["--wait", "0.4"]);
    expect(report.report.error?.code ?? report.report.verdict).toBe(verdict);
  },
);

test.each([
  ["the agent's own volume", async (box: ReturnType<typeof sandbox>) => preparedDisk(box)],
  ["a volume without a label", async (box: ReturnType<typeof sandbox>) => btrfsDisk(box)],
])("a /dev/vdb that is a Btrfs already is not waited over: %s", async (_, make) => {
  const box = sandbox();
  const { device } = await make(box);
  ownDev(box, { vdb: device });
  const report = await up(box, "--wait", "60");
  expect(report.device).toBe("/dev/vdb");
  expect(report.ms).toBeLessThan(5000);
  expect((await up(box, "--wait", "60")).outcome).toBe("unchanged");
});

test("a hypervisor's disk without a medium yet is waited for, and /dev/vdb is not taken instead", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const empty = box.emptyLoop();
  ownDev(box, { vdb: device, arcboxhvc1: empty });
  const error = await fails(volume(box, "up", ["--wait", "0.3"]), "device-missing");
  expect(error.message).toContain("/dev/arcboxhvc1");
  expect(error.message).toContain("medium");
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("a damaged volume on /dev/vdb is repaired once the wait is over", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  command(
    "dd",
    "if=/dev/urandom",
    `of=${disk.image}`,
    "bs=1",
    "count=1",
    "seek=69000",
    "conv=notrunc",
  );
  Bun.spawnSync(["blockdev", "--flushbufs", disk.device]);
  ownDev(box, { vdb: disk.device });
  expect((await up(box, "--wait", "0.3")).verdict).toBe("damaged");
});

test("a disk that comes while /dev/vdb is locked makes that busy, and it is not formatted", async () => {
  const box = sandbox();
  const [early, late] = [box.disk(GiB), box.disk(GiB)];
  const dev = ownDev(box, { vdb: early.device });
  const unlock = lockExclusively(`${dev}/vdb`);
  const args = ["volume", "up", "--json", "--root", box.root, "--wait", "0"];
  const running = reported("up", start(args).done);
  await Bun.sleep(500);
  symlinkSync(late.device, `${dev}/arcboxhvc1`);
  unlock();
  const { message } = await fails(running, "busy");
  expect(message).toContain("/dev/arcboxhvc1");
  expect(nonZeroBlocks(early.image)).toBeEmpty();
  expect((await plan(box)).device).toBe("/dev/arcboxhvc1");
});

test("a foreign disk under both names is refused as it is", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  command("mkfs.ext4", "-q", "-F", device);
  ownDev(box, { vdb: device, arcboxhvc1: device });
  const before = fingerprint(image);
  await expectRefused(box, [], { code: "foreign", device });
  expect(fingerprint(image)).toBe(before);
});
