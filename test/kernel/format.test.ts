import { expect, test } from "bun:test";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { down, fails, start, succeeds, up, volume } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { flipByte, flush, GiB, KiB, MiB, nonZeroBlocks, readAt } from "../kit/image.ts";
import { traffic } from "../kit/loops.ts";
import { replaceMkfs, withoutMkfs } from "../kit/mkfs.ts";
import { expectRefused } from "../kit/refusal.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { at, MIRROR, PRIMARY } from "../kit/superblock.ts";
import { checkFilesystem, expectMounted, ourMounts, preparedDisk } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

const MIN_MS = 60_000;

/** Leaves what a format that died before its first write leaves: the intent record. */
async function interruptedBeforeMkfs(box: Sandbox, disk: Disk): Promise<number> {
  const { restore } = replaceMkfs(box, "echo 'a complaint of mkfs' >&2; kill -KILL $$");
  const error = await fails(volume(box, "up", ["--device", disk.device]), "format-failed");
  expect(error.message).toContain("a complaint of mkfs");
  expect(ourMounts(box)).toBeEmpty();
  restore();
  flush(disk.device);
  const [record, ...more] = nonZeroBlocks(disk.image);
  expect(more).toBeEmpty();
  return record ?? Number.NaN;
}

test("a format that fails leaves one block, the intent record, and the next run formats", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const record = await interruptedBeforeMkfs(box, disk);
  expect(record).toBe(64 * MiB + 32 * KiB);
  const report = await up(box, "--device", disk.device);
  expect(report).toMatchObject({ outcome: "changed", verdict: "interrupted" });
  expectMounted(box.root);
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
  expect(readAt(disk.image, record, 4096).equals(Buffer.alloc(4096))).toBeTrue();
});

test("why mkfs gave up is told, though what it says of itself arrives after that", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  // Two errors to the one stream, then the banner that the other one had in its buffer.
  replaceMkfs(
    box,
    "echo 'ERROR: no memory for /proc/self/fd/3' >&2; echo 'ERROR: gave up' >&2; echo 'See http://wiki for more.'; exit 1",
  );
  const { message } = await fails(volume(box, "up", ["--device", device]), "format-failed");
  expect(message).toEndWith(`exit status 1: no memory for ${device}`);
});

test("an interrupted format of an image is finished", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const { restore } = replaceMkfs(box, "kill -KILL $$");
  await fails(volume(box, "up", ["--image", image]), "format-failed");
  restore();
  expect((await up(box, "--image", image)).verdict).toBe("interrupted");
  expectMounted(box.root);
});

test("--format never refuses an interrupted format", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await interruptedBeforeMkfs(box, disk);
  await expectRefused(box, ["--device", disk.device, "--format", "never"], { code: "interrupted" });
});

test("an intent record with a flipped byte is not believed", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const record = await interruptedBeforeMkfs(box, disk);
  flipByte(disk.image, record + 12);
  command("blockdev", "--flushbufs", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "unknown" });
});

test("what somebody put on the disk after an interrupted format is refused", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await interruptedBeforeMkfs(box, disk);
  command("mkfs.ext4", "-q", "-F", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "foreign", device: disk.device });
});

test("a record left beside a valid filesystem is zeroed before anything else, and never used", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const record = await interruptedBeforeMkfs(box, disk);
  // The format succeeds and the agent is killed before it can clear its record.
  const { restore } = replaceMkfs(box, '"$REAL" "$@" && kill -KILL "$PPID"');
  const { exitCode } = await start(["volume", "up", "--device", disk.device]).done;
  expect(exitCode).not.toBe(0);
  restore();
  flush(disk.device);
  expect(readAt(disk.image, record, 4096).equals(Buffer.alloc(4096))).toBeFalse();
  const report = await up(box, "--device", disk.device);
  expect(report.verdict).toBe("btrfs");
  await down(box, "--device", disk.device);
  flush(disk.device);
  expect(readAt(disk.image, record, 4096).equals(Buffer.alloc(4096))).toBeTrue();
  flipByte(disk.image, PRIMARY + at.label);
  flipByte(disk.image, MIRROR + at.label);
  command("blockdev", "--flushbufs", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "hopeless" });
});

/** The fake mkfs runs the real one under strace, which kills it at its n-th write. */
const killedAtWrite = (box: Sandbox, nth: number): string =>
  `exec ${tool("strace")} --follow-forks --quiet=all --output='${box.path("mkfs.log")}' ` +
  `--trace=pwrite64 --inject=pwrite64:signal=KILL:when=${nth} "$REAL" "$@"`;

/** More writes than mkfs.btrfs makes. */
const WRITES_AT_MOST = 500;

test(
  "a format killed at any write of mkfs is finished by the next run",
  async () => {
    const box = sandbox();
    const verdicts: string[] = [];
    for (let nth = 1; nth <= WRITES_AT_MOST; nth += 1) {
      const disk = box.disk(256 * MiB);
      const { restore } = replaceMkfs(box, killedAtWrite(box, nth));
      const { report } = await volume(box, "up", ["--device", disk.device]);
      restore();
      if (report.error === null) break; // mkfs makes fewer writes: every one had its turn
      expect(report.error.code).toBe("format-failed");
      expect(report.error.message).toMatch(/SIGKILL|signal|killed|137/i);
      expect(ourMounts(box)).toBeEmpty();
      const { verdict } = await up(box, "--device", disk.device);
      expect(MAY_FOLLOW).toContain(verdict ?? "none");
      verdicts.push(verdict ?? "none");
      expectMounted(box.root);
      await down(box, "--device", disk.device);
      checkFilesystem(disk);
      box.detach(disk.device);
    }
    expect(verdicts.length).toBeGreaterThan(20);
    expect(verdicts.length).toBeLessThan(WRITES_AT_MOST);
    const interrupted = verdicts.filter((verdict) => verdict === "interrupted");
    expect(interrupted.length).toBeGreaterThan(verdicts.length / 2);
  },
  3 * MIN_MS,
);

/** After the last superblock is written there is nothing left to finish. */
const MAY_FOLLOW = ["interrupted", "btrfs", "damaged"];

test("an orphaned mkfs still holds the lock: the next run waits for it", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const gate = box.path("gate");
  const pidFile = box.path("mkfs.pid");
  command("mkfifo", gate);
  const { restore } = replaceMkfs(
    box,
    `echo $$ > '${pidFile}.new' && mv '${pidFile}.new' '${pidFile}'
read -r go < '${gate}'
exec "$REAL" "$@"`,
  );
  const first = start(["volume", "up", "--device", disk.device, "--root", box.root]);
  while (!existsSync(pidFile)) await Bun.sleep(2);
  const mkfsPid = Number(readFileSync(pidFile, "utf8"));
  box.onEnd(() => killIfAlive(mkfsPid));
  first.child.kill("SIGKILL");
  await first.done;
  restore();
  const second = volume(box, "up", ["--device", disk.device]);
  const winner = await Promise.race([second.then(() => "up"), Bun.sleep(500).then(() => "nobody")]);
  expect(winner).toBe("nobody");
  await Bun.write(gate, "go\n");
  const { report } = await second;
  expect(report.error).toBeNull();
  expect(["btrfs", "interrupted"]).toContain(report.verdict ?? "");
  expectMounted(box.root);
});

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended, as it should
  }
}

test("a mkfs that says it succeeded and wrote nothing is not believed", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  replaceMkfs(box, "exit 0");
  await fails(volume(box, "up", ["--device", device]), "format-failed", "mount-failed");
  expect(ourMounts(box)).toBeEmpty();
});

test("a blank disk is formatted with the label, without a discard pass and without force", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const log = box.path("arguments");
  replaceMkfs(box, `printf '%s\\n' "$@" > '${log}'; exec "$REAL" "$@"`);
  const before = traffic(device);
  await up(box, "--device", device);
  const args = readFileSync(log, "utf8").trim().split("\n");
  expect(args).toContain("arcbox-data");
  expect(args.some((arg) => arg === "-K" || arg === "--nodiscard")).toBeTrue();
  expect(args.filter((arg) => /^(-f|--force)$/.test(arg))).toBeEmpty();
  expect(traffic(device).discardedSectors - before.discardedSectors).toBeLessThan(GiB / 512 / 2);
});

test("without mkfs.btrfs a blank disk is refused and stays blank", async () => {
  const box = sandbox();
  const { image, device } = box.disk(GiB);
  const before = observe(box);
  const options = { prefix: withoutMkfs(box) };
  for (const args of [
    ["--device", device],
    ["--device", device, "--format", "any"],
  ]) {
    const error = await fails(volume(box, "up", args, options), "mkfs-missing");
    expect(`${error.message} ${error.hint}`).toMatch(/mkfs\.btrfs[\s\S]*btrfs-progs|btrfs-progs/);
  }
  flush(device);
  expect(observe(box).images).toEqual(before.images);
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("without mkfs.btrfs plan fails as up does", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const options = { prefix: withoutMkfs(box) };
  await fails(volume(box, "plan", ["--device", device], options), "mkfs-missing");
});

test("a volume needs no mkfs.btrfs", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const run = await volume(box, "up", ["--device", device], { prefix: withoutMkfs(box) });
  expect(run.report.error).toBeNull();
});

test("mkfs.btrfs is found behind a folder of PATH that cannot be looked at", async () => {
  const box = sandbox();
  symlinkSync("loop", box.path("loop"));
  const path = `${box.path("loop")}:/${"x".repeat(300)}:${process.env.PATH}`;
  await succeeds(volume(box, "up", ["--device", box.disk(GiB).device], { path }));
});

test("mkfs.btrfs is found where it is installed, whatever PATH says", async () => {
  const box = sandbox();
  const run = await volume(box, "up", ["--device", box.disk(GiB).device], { path: "/nowhere" });
  expect(run.report.error).toBeNull();
  expectMounted(box.root);
});
