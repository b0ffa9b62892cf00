import { expect, test } from "bun:test";
import { down, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, flush, GiB, MiB, nonZeroBlocks } from "../kit/image.ts";
import { expectRefused } from "../kit/refusal.ts";
import type { Report } from "../kit/report.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { MIRROR, PRIMARY } from "../kit/superblock.ts";
import { traced } from "../kit/trace.ts";
import { disconnectedFrom, unreadableDisk } from "../kit/unreadable.ts";
import { markerIsThere, ourMounts, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

const places: readonly (readonly [string, number])[] = [
  ["the first block", 0],
  ["the place of an LVM or LUKS2 header", 4096],
  ["the superblock", PRIMARY],
  ["the end of the first 2 MiB", 2 * MiB - 4096],
  ["the mirror", MIRROR],
  ["a backup superblock of ext4", 128 * MiB],
  ["the middle, where the intent record would be", GiB / 2],
  ["the begin of the last MiB", GiB - MiB],
  ["the last block", GiB - 4096],
];

test.each(places)("a read error in %s is never taken for a blank disk", async (_, offset) => {
  const box = sandbox();
  const { device } = unreadableDisk(box, GiB, [offset]);
  const report = await expectRefused(box, ["--device", device], {
    code: "unreadable",
    names: [device, /EIO|input\/output/i],
  });
  expect(report.verdict).toBe("unreadable");
  await expectRefused(box, ["--device", device, "--format", "any", "--repair", "always"], {
    code: "unreadable",
  });
});

test("a read error in an image is never taken for a blank disk", async () => {
  const box = sandbox();
  const { image, device } = unreadableDisk(box, GiB, [GiB / 2]);
  box.detach(device);
  await expectRefused(box, ["--image", image], { code: "unreadable" });
});

test("a disk whose second half does not answer is not blank", async () => {
  const box = sandbox();
  const { device } = disconnectedFrom(box, GiB, 512 * MiB);
  await expectRefused(box, ["--device", device], { code: "unreadable", names: [device] });
});

const mkfs = (device: string): void => void command("mkfs.btrfs", "--quiet", device);

test("an unreadable superblock is not repaired over", async () => {
  const box = sandbox();
  const { device } = unreadableDisk(box, GiB, [PRIMARY], mkfs);
  for (const repair of ["auto", "always"]) {
    await expectRefused(box, ["--device", device, "--repair", repair], { code: "unreadable" });
  }
});

test("an unreadable mirror does not stop a sound volume", async () => {
  const box = sandbox();
  const { device } = unreadableDisk(box, GiB, [MIRROR], mkfs);
  const report = await up(box, "--device", device);
  expect(report.verdict).toBe("btrfs");
  expect(ourMounts(box)).toHaveLength(6);
});

const READS = "pread64,preadv,preadv2,read,readv";

interface Read {
  readonly place: string;
  readonly failed: boolean;
}

/** Runs the agent with some reads of the disk failing, and tells which reads it made. */
async function withFailingReads(
  box: Sandbox,
  verb: "up" | "plan",
  device: string,
  when: string,
): Promise<{ readonly report: Report; readonly reads: readonly Read[] }> {
  const trace = traced(
    box,
    READS,
    `--trace-path=${device}`,
    `--inject=${READS}:error=EIO:when=${when}`,
  );
  const { report } = await volume(box, verb, ["--device", device], { prefix: trace.prefix });
  const reads = trace
    .calls()
    .filter((line) => /^p?readv?/.test(line))
    .map((line) => ({
      place: /, (\d+, \d+)\) = /.exec(line)?.[1] ?? line,
      failed: line.includes("(INJECTED)"),
    }));
  return { report, reads };
}

const NEVER = "65535";

/** Up to `limit` of the numbers from 1 to `count`, the first and the last among them. */
function spread(count: number, limit: number): number[] {
  const steps = Math.min(count, limit);
  const numbers = Array.from(
    { length: steps },
    (_, index) => 1 + Math.round((index * (count - 1)) / Math.max(1, steps - 1)),
  );
  return [...new Set(numbers)];
}

test("whichever single read of a blank disk fails, it is read again or the disk is unreadable", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const { reads } = await withFailingReads(box, "plan", device, NEVER);
  expect(reads.length).toBeGreaterThan(5);
  for (const nth of spread(reads.length, 40)) {
    const run = await withFailingReads(box, "plan", device, String(nth));
    const failed = run.reads.findIndex((read) => read.failed);
    expect(failed).toBe(nth - 1);
    const place = run.reads[failed]?.place;
    const readAgain = run.reads.slice(failed + 1).some((read) => read.place === place);
    if (readAgain && run.report.error === null) continue;
    expect(`read ${nth} of ${place}: ${run.report.error?.code}`).toEndWith(": unreadable");
  }
});

test("a blank disk that stops answering at any read is not formatted", async () => {
  const box = sandbox();
  const { image, device } = box.disk(GiB);
  const { reads } = await withFailingReads(box, "plan", device, NEVER);
  for (const nth of spread(reads.length, 20)) {
    const { report } = await withFailingReads(box, "up", device, `${nth}+`);
    expect(`from read ${nth}: ${report.error?.code}`).toEndWith(": unreadable");
    flush(device);
    expect(nonZeroBlocks(image)).toBeEmpty();
  }
});

test.each(["%d", "%d+"])(
  "on a volume no failing read (%s) ever formats or loses anything",
  async (when) => {
    const box = sandbox();
    const { image, device } = await preparedDisk(box);
    const { reads } = await withFailingReads(box, "plan", device, NEVER);
    expect(reads).not.toBeEmpty();
    const before = fingerprint(image);
    for (const nth of spread(reads.length, 12)) {
      const { report } = await withFailingReads(box, "up", device, when.replace("%d", String(nth)));
      if (report.error === null) {
        expect(markerIsThere(box)).toBeTrue();
        await down(box, "--device", device);
      } else {
        expect(report.error.code).toBe("unreadable");
        expect(ourMounts(box)).toBeEmpty();
      }
      flush(device);
      expect(fingerprint(image)).toBe(before);
    }
  },
);
