// What arcbox-agent 0.4.10, written in Rust, does to a disk or says of it, and this program must not.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, start, succeeds, up, volume } from "../../kit/agent.ts";
import { command, tool } from "../../kit/command.ts";
import { flipByte, flush, GiB, zeroAt } from "../../kit/image.ts";
import { replaceMkfs } from "../../kit/mkfs.ts";
import { expectRefused } from "../../kit/refusal.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { at, PRIMARY } from "../../kit/superblock.ts";
import { unreadableDisk } from "../../kit/unreadable.ts";
import {
  dockerOf,
  expectMounted,
  expectNocow,
  layout,
  markerIsThere,
  nocowPlaces,
  ourMounts,
  preparedDisk,
} from "../../kit/volume.ts";

const sandbox = useSandbox();

test("it formats after a read error: ours refuses", async () => {
  const box = sandbox();
  const { device } = unreadableDisk(box, GiB, [PRIMARY]);
  await expectRefused(box, ["--device", device], { code: "unreadable" });
});

test("it formats with an intact mirror: ours repairs from it", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  flipByte(image, PRIMARY + at.magic);
  command("blockdev", "--flushbufs", device);
  expect((await up(box, "--device", device)).verdict).toBe("damaged");
  expect(markerIsThere(box)).toBeTrue();
});

test("it formats with an intact mirror beside zeros: ours refuses, and rebuilds what it is told to", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  zeroAt(image, PRIMARY, 4096);
  command("blockdev", "--flushbufs", device);
  await expectRefused(box, ["--device", device], { code: "ambiguous", device });
  await up(box, "--device", device, "--repair", "always");
  expect(markerIsThere(box)).toBeTrue();
});

test.each([
  ["ext4", ["mkfs.ext4", "-q", "-F"]],
  ["swap", ["mkswap"]],
] as const)("it wipes %s: ours refuses", async (_, [program, ...options]) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  command(program, ...options, device);
  await expectRefused(box, ["--device", device], { code: "foreign", device });
});

test("it says already mounted with tmpfs on the targets: ours refuses", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  for (const { path } of layout) box.mount("tmpfs", join(box.root, path), "-t", "tmpfs");
  await expectRefused(box, ["--device", device], { code: "target-occupied", device });
});

test("it accepts the wrong subvolume: ours refuses", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = box.mount(device, dockerOf(box), "-o", "subvol=@cni");
  await fails(volume(box, "up", ["--device", device]), "target-occupied");
  expect(ourMounts(box)).toEqual([`/@cni ${path}`]);
});

test("it succeeds read-only: ours fails and mounts nothing", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  const readOnly = box.attach(image, "--read-only");
  await expectRefused(box, ["--device", readOnly], { code: "read-only" });
  expect(ourMounts(box)).toBeEmpty();
});

test("it loses its mounts on a path with a space: ours finds them again", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const args = ["--device", device, "--root", box.path("a root")];
  await up(box, ...args);
  expect((await up(box, ...args)).outcome).toBe("unchanged");
  expectMounted(box.path("a root"));
});

test("it leaves NOCOW half done after a kill: ours finishes it", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  // The sixth directory is made, and not flagged.
  const prefix = [tool("strace"), "--quiet=all", "--output=/dev/null", "--trace=mkdirat"];
  const kill = "--inject=mkdirat:signal=KILL:when=19";
  const args = ["volume", "up", "--device", device, "--root", box.root];
  const { exitCode } = await start(args, { prefix: [...prefix, kill] }).done;
  expect(exitCode).not.toBe(0);
  const flagged = nocowPlaces(box.root).filter((folder) => isNocow(folder));
  expect(flagged.length).toBeGreaterThan(0);
  expect(flagged.length).toBeLessThan(nocowPlaces(box.root).length);
  await up(box, "--device", device);
  for (const folder of nocowPlaces(box.root)) expectNocow(folder);
});

const isNocow = (folder: string): boolean => {
  const { stdout } = Bun.spawnSync([tool("lsattr"), "-d", folder], { stderr: "ignore" });
  return stdout.toString().split(" ")[0]?.includes("C") ?? false;
};

const twoRuns = (box: Sandbox, device: string) =>
  Promise.all([1, 2].map(() => succeeds(volume(box, "up", ["--device", device]))));

test("two runs at once fail: ours both succeed", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await twoRuns(box, device);
  expectMounted(box.root);
});

test("two mkfs at once: ours starts one", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const log = box.path("started");
  replaceMkfs(box, `echo "$$" >> '${log}'; exec "$REAL" "$@"`);
  await twoRuns(box, device);
  expect(readFileSync(log, "utf8").trim().split("\n")).toHaveLength(1);
  await down(box, "--device", device);
  flush(device);
  command("btrfs", "check", "--readonly", device);
});
