import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { down, fails, succeeds, volume } from "../kit/agent.ts";
import { GiB } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { type Report, stepOutcomes } from "../kit/report.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { traced } from "../kit/trace.ts";
import { expectMounted, markerIsThere, preparedDisk, writeMarker } from "../kit/volume.ts";

const sandbox = useSandbox();

const ROUNDS = [1, 2, 3, 4, 5];

const upTogether = (box: Sandbox, count: number, ...args: readonly string[]): Promise<Report[]> =>
  Promise.all(Array.from({ length: count }, () => succeeds(volume(box, "up", args))));

const outcomesOf = (reports: readonly Report[], step: string): string[] =>
  reports.map((report) => stepOutcomes(report)[step] ?? "missing").toSorted();

test.each(ROUNDS)(
  "two at once on a blank disk both succeed, and one formats (round %d)",
  async () => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const reports = await upTogether(box, 2, "--device", device);
    expect(outcomesOf(reports, "filesystem")).toEqual(["changed", "kept"]);
    expect(reports.map(({ outcome }) => outcome).sort()).toEqual(["changed", "unchanged"]);
    expect(new Set(reports.map(({ uuid }) => uuid)).size).toBe(1);
    expectMounted(box.root);
  },
);

test.each(ROUNDS)(
  "four at once on a blank disk all succeed, and one formats (round %d)",
  async () => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const reports = await upTogether(box, 4, "--device", device);
    expect(outcomesOf(reports, "filesystem")).toEqual(["changed", "kept", "kept", "kept"]);
    expect(new Set(reports.map(({ uuid }) => uuid)).size).toBe(1);
    expectMounted(box.root);
  },
);

test.each(ROUNDS)("two at once on a volume both succeed, and one mounts (round %d)", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const reports = await upTogether(box, 2, "--device", disk.device);
  expect(outcomesOf(reports, "mount")).toEqual(["changed", "kept"]);
  expect(outcomesOf(reports, "filesystem")).toEqual(["kept", "kept"]);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
});

test.each(ROUNDS)(
  "four at once on a missing image make one image, one loop device, one filesystem (round %d)",
  async () => {
    const box = sandbox();
    const image = box.path("disk.img");
    const reports = await upTogether(box, 4, "--image", image, "--size", "1G");
    expect(outcomesOf(reports, "filesystem")).toEqual(["changed", "kept", "kept", "kept"]);
    expect(new Set(reports.map(({ device }) => device)).size).toBe(1);
    expect([...attachedLoops(box.dir).values()]).toEqual([image]);
    expectMounted(box.root);
  },
);

test.each(ROUNDS)("four at once on an image that is there attach it once (round %d)", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  const reports = await upTogether(box, 4, "--image", image);
  expect(outcomesOf(reports, "mount")).toEqual(["changed", "kept", "kept", "kept"]);
  expect(attachedLoops(box.dir).size).toBe(1);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
});

test("two at once with different images do not take each other's loop device", async () => {
  const box = sandbox();
  const runs = ["one", "two", "three"].map((name) =>
    succeeds(
      volume(box, "up", [
        "--image",
        box.path(`${name}.img`),
        "--size",
        "1G",
        "--root",
        box.path(name),
      ]),
    ),
  );
  const reports = await Promise.all(runs);
  expect(new Set(reports.map(({ device }) => device)).size).toBe(3);
  expect(attachedLoops(box.dir).size).toBe(3);
  for (const name of ["one", "two", "three"]) expectMounted(box.path(name));
});

test("a run that made an image does not take away what another run has put into it meanwhile", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  // The first makes the file, and comes to its lock when the second is done and the targets are taken.
  const slow = traced(box, "flock", "--inject=flock:delay_enter=1500000:when=1");
  const taken = box.path("taken");
  box.mount("tmpfs", join(taken, "var/lib/docker"), "-t", "tmpfs");
  const first = volume(box, "up", ["--image", image, "--root", taken], { prefix: slow.prefix });
  while (!existsSync(image)) await Bun.sleep(1);
  await succeeds(volume(box, "up", ["--image", image, "--size", "1G"]));
  writeMarker(box);
  await fails(first, "target-occupied");
  expect(existsSync(image)).toBeTrue();
  await down(box, "--image", image);
  await succeeds(volume(box, "up", ["--image", image]));
  expect(markerIsThere(box)).toBeTrue();
});
