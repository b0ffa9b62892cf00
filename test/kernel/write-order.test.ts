import { expect, test } from "bun:test";
import { succeeds, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { flipByte, GiB, zeroAt } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { at, MIRROR, PRIMARY } from "../kit/superblock.ts";
import { traced } from "../kit/trace.ts";
import { preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

const CALLS = "open,openat,openat2,pread64,pwrite64,fsync,fdatasync,flock,execve,mount";

const isFlush = (line: string): boolean => /^(fsync|fdatasync)\(.* = 0$/.test(line);

async function callsOfUp(
  device: string,
  ...options: readonly string[]
): Promise<readonly string[]> {
  const box = sandbox();
  const trace = traced(box, CALLS);
  await succeeds(volume(box, "up", ["--device", device, ...options], { prefix: trace.prefix }));
  return trace.calls();
}

/** The first line after `start` that fits, or an error that says what did not happen. */
function next(
  calls: readonly string[],
  start: number,
  what: string,
  fits: (line: string) => boolean,
): number {
  const index = calls.findIndex((line, place) => place > start && fits(line));
  if (index < 0) throw new Error(`${what} did not follow:\n${calls.slice(start).join("\n")}`);
  return index;
}

/** Among the 64 KiB that Btrfs keeps free at the first mirror of its superblock. */
const RECORD = MIRROR + 32 * 1024;

test("the intent record is on the disk before mkfs starts, and gone before the mount", async () => {
  const calls = await callsOfUp(sandbox().disk(GiB).device);
  const writesRecord = (line: string): boolean =>
    new RegExp(`^pwrite64\\(.*, 4096, ${RECORD}\\) = 4096$`).test(line);
  const written = next(calls, -1, "writing the record", writesRecord);
  const flushed = next(calls, written, "flushing it", isFlush);
  const started = next(calls, flushed, "mkfs", (line) => /^execve\(.*mkfs\.btrfs/.test(line));
  const cleared = next(calls, started, "clearing the record", writesRecord);
  const flushedAgain = next(calls, cleared, "flushing that", isFlush);
  const isMount = (line: string): boolean => line.startsWith("mount(") && line.endsWith(" = 0");
  expect(calls.findIndex(isMount)).toBeGreaterThan(flushedAgain);
});

test("a format over a wiped volume ends the copies of the superblock first, the primary last", async () => {
  const disk = await preparedDisk(sandbox());
  zeroAt(disk.image, PRIMARY + at.magic, 8);
  command("blockdev", "--flushbufs", disk.device);
  const calls = await callsOfUp(disk.device, "--format", "any");
  const writes =
    (place: number) =>
    (line: string): boolean =>
      line.startsWith("pwrite64(") && line.endsWith(`, 4096, ${place}) = 4096`);
  const mirror = next(calls, -1, "zeroing the mirror", writes(MIRROR));
  const flushed = next(calls, mirror, "flushing that", isFlush);
  const primary = next(calls, -1, "zeroing the primary", writes(PRIMARY));
  // A primary of zeros beside a living mirror is damage, which the next run repairs: the old volume.
  expect(primary).toBeGreaterThan(flushed);
  next(calls, primary, "mkfs", (line) => /^execve\(.*mkfs\.btrfs/.test(line));
});

test("the disk is locked before it is judged", async () => {
  const { device } = sandbox().disk(GiB);
  const calls = await callsOfUp(device);
  const locked = next(calls, -1, "the lock", (line) => /^flock\(.*LOCK_EX.* = 0$/.test(line));
  const read = next(calls, -1, "a read of a whole block", (line) =>
    /^pread64\(.*, (4096|65536|69632|1048576), \d+\) = /.test(line),
  );
  expect(read).toBeGreaterThan(locked);
});

test("a repair reads past the cache first, and is on the disk before the mount", async () => {
  const disk = await preparedDisk(sandbox());
  flipByte(disk.image, PRIMARY + at.label);
  command("blockdev", "--flushbufs", disk.device);
  const calls = await callsOfUp(disk.device);
  const direct = next(
    calls,
    -1,
    "opening past the cache",
    (line) => /"\/proc\/self\/fd\/\d+"/.test(line) && line.includes("O_DIRECT"),
  );
  const read = next(calls, direct, "reading", (line) => /^pread64\(.*\) = \d+$/.test(line));
  const written = next(
    calls,
    read,
    "writing the superblock",
    (line) => line.endsWith(`, 4096, ${PRIMARY}) = 4096`) && line.startsWith("pwrite64("),
  );
  const flushed = next(calls, written, "flushing it", isFlush);
  next(calls, flushed, "the mount", (line) => line.startsWith("mount(") && line.endsWith(" = 0"));
});
