import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, flush, GiB } from "../kit/image.ts";
import { traffic } from "../kit/loops.ts";
import { type Report, stepNames, stepOutcomes } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { traced } from "../kit/trace.ts";
import {
  dockerOf,
  expectMounted,
  expectNocow,
  markerIsThere,
  ourMounts,
  preparedDisk,
} from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

const everyStep = (outcome: string): Record<string, string> =>
  Object.fromEntries(stepNames.map((name) => [name, outcome]));

test("a second up on a mounted volume is unchanged, every step kept", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const first = await up(box, "--device", device);
  const before = observe(box);
  const second = await up(box, "--device", device);
  expect(second).toMatchObject({ outcome: "unchanged", verdict: "mounted", uuid: first.uuid });
  expect(stepOutcomes(second)).toEqual(everyStep("kept"));
  expect(second.mounts).toEqual(first.mounts);
  const after = observe(box);
  expect(after.mounts).toEqual(before.mounts);
  expect(after.loops).toEqual(before.loops);
});

test("a warm boot only mounts, and writes not one byte to the disk", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const before = { image: fingerprint(disk.image), traffic: traffic(disk.device) };
  const { generation } = superblockFacts(disk.image);
  const report = await up(box, "--device", disk.device);
  expect(report).toMatchObject({ outcome: "changed", verdict: "btrfs" });
  expect(stepOutcomes(report)).toEqual({
    ...everyStep("kept"),
    mount: "changed",
    mountpoints: "changed",
  });
  expect(markerIsThere(box)).toBeTrue();
  await up(box, "--device", disk.device);
  await down(box, "--device", disk.device);
  flush(disk.device);
  expect(traffic(disk.device)).toEqual(before.traffic);
  expect(superblockFacts(disk.image).generation).toBe(generation);
  expect(fingerprint(disk.image)).toBe(before.image);
});

test("a warm boot of an image writes nothing to it either", async () => {
  const box = sandbox();
  const args = ["--image", box.path("disk.img"), "--size", "1G"];
  await up(box, ...args);
  await down(box, ...args);
  const before = observe(box).images;
  expect((await up(box, ...args)).outcome).toBe("changed");
  expect((await up(box, ...args)).outcome).toBe("unchanged");
  await down(box, ...args);
  expect(observe(box).images).toEqual(before);
});

test("a warm boot starts no program and opens the disk for reading only", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const trace = traced(box, "execve,open,openat,openat2");
  const run = await volume(box, "up", ["--device", device], { prefix: trace.prefix });
  expect(run.exitCode).toBe(0);
  const calls = trace.calls();
  expect(calls.filter((line) => line.startsWith("execve("))).toHaveLength(1);
  const opened = calls.filter((line) => line.includes(`"${device}"`));
  expect(opened).not.toBeEmpty();
  expect(opened.filter((line) => /O_RDWR|O_WRONLY/.test(line))).toBeEmpty();
});

test("a warm boot makes few system calls, and for every other loop device few more", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const trace = traced(box, "all");
  const run = await volume(box, "up", ["--device", device], { prefix: trace.prefix });
  expect(run.exitCode).toBe(0);
  const calls = trace.calls();
  const loops = readdirSync("/sys/block").filter((name) => name.startsWith("loop"));
  const filesystems = readdirSync("/sys/fs/btrfs");
  // Of a loop device it is asked what it shows, and where that is on another filesystem, by what path.
  expect(calls.length).toBeLessThan(270 + 9 * (loops.length + 2 * filesystems.length));
  const ofSysfs = calls.findIndex((line) => line.includes('/loop/backing_file"'));
  // An attribute comes with the first read.
  expect(calls.slice(ofSysfs + 1, ofSysfs + 3).map((line) => line.slice(0, 5))).toEqual([
    "read(",
    "close",
  ]);
  const ownFile = calls.filter((line) => line.includes(`${device.slice(5)}/loop/backing_file"`));
  expect(ownFile.length).toBeLessThan(6);
});

test.each([1, 2, 3])(
  "what one mount lost, up puts back (%d of the targets unmounted)",
  async (lost) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    await up(box, "--device", device);
    for (const target of ["kubelet", "docker", "containerd"].slice(0, lost)) {
      box.umount(join(box.root, "var/lib", target));
    }
    const report = await up(box, "--device", device);
    expect(report.outcome).toBe("changed");
    expect(stepOutcomes(report)).toEqual({ ...everyStep("kept"), mountpoints: "changed" });
    expectMounted(box.root);
  },
);

test("up puts the whole-filesystem mount back while the subvolumes stay mounted", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  box.umount(join(box.root, "run/arcbox/data"));
  expect((await up(box, "--device", device)).outcome).toBe("changed");
  expectMounted(box.root);
});

test.each<[string, (box: ReturnType<typeof sandbox>) => void, Record<string, string>]>([
  [
    "a deleted NOCOW directory is made again",
    (box) => void command("rmdir", join(dockerOf(box), "network/files")),
    { nocow: "changed" },
  ],
  [
    "a lost NOCOW flag is set again",
    (box) => void command("chattr", "-C", join(dockerOf(box), "network/files")),
    { nocow: "changed" },
  ],
])("%s, and nothing else is touched", async (_, lose, expected) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  lose(box);
  const report = await up(box, "--device", device);
  expect(stepOutcomes(report)).toEqual({ ...everyStep("kept"), ...expected });
  expectNocow(join(dockerOf(box), "network/files"));
});

test("the mode of a directory that exists is left as somebody set it", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  command("chmod", "711", join(dockerOf(box), "network/files"));
  const { outcome } = await up(box, "--device", device);
  expect(outcome).toBe("unchanged");
  expect(command("stat", "--format=%a", join(dockerOf(box), "network/files")).trim()).toBe("711");
});

test("a volume that was not unmounted keeps what was synced", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  command("sync", "--file-system", dockerOf(box));
  writeFileSync(join(dockerOf(box), "synced"), "log", { flush: true });
  const crashed = box.path("crashed.img");
  command("cp", "--sparse=always", "--reflink=never", disk.image, crashed);
  await down(box, "--device", disk.device);
  expect(superblockFacts(crashed).logRoot).not.toBe(0n);
  const report: Report = await succeeds(volume(box, "up", ["--device", box.attach(crashed)]));
  expect(report.verdict).toBe("btrfs");
  expect(readFileSync(join(dockerOf(box), "synced"), "utf8")).toBe("log");
  expect(ourMounts(box)).toHaveLength(6);
});
