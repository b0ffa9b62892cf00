import { afterAll, expect, test } from "bun:test";
import type { Call } from "../../kit/calls.ts";
import { depth } from "../../kit/depth.ts";
import { nonZeroBlocks } from "../../kit/image.ts";
import { callsOf, disturb, NotMet } from "../../kit/inject.ts";
import { attachedLoops } from "../../kit/loops.ts";
import { everyPoint, sample } from "../../kit/points.ts";
import {
  checkExit,
  checkReport,
  parseReport,
  type Report,
  stepOutcomes,
} from "../../kit/report.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { expectRecovers, expectUp } from "../../kit/soundness.ts";
import { downStages, type Stage, stageOf, upStages } from "../../kit/stages.ts";
import { filesystemGone, ourMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();

const errors = ["EIO", "ENOMEM", "EBUSY", "EINTR", "ENOSPC", "EPERM"] as const;
type ErrnoName = (typeof errors)[number];

const MINUTES = 60_000;

let failures = 0;
let successes = 0;
afterAll(() => console.log(`an errno at ${failures + successes} points: ${successes} made good`));

/** These codes say what the errno says. */
const codeOf: Partial<Record<ErrnoName, string>> = {
  EBUSY: "busy",
  EPERM: "permission",
  ENOSPC: "no-space",
};

/** What a signal interrupted before it did anything is made again. */
const retried = new Set([
  "openat",
  "openat2",
  "read",
  "pread64",
  "pwrite64",
  "fsync",
  "ftruncate",
  "flock",
]);

interface Trial {
  readonly call: Call;
  readonly errno: ErrnoName;
}

/** In a slice every point has its turn with one errno, with `npm run test:deep` with all. */
async function trialsOf(stage: Stage): Promise<readonly Trial[]> {
  const points = sample(await callsOf(stage), depth(2, Number.POSITIVE_INFINITY));
  return points.flatMap((call, index) =>
    errors
      .filter((_, place) => depth(place === index % errors.length, true))
      .map((errno) => ({ call, errno })),
  );
}

const nameOf = ({ call, errno }: Trial): string => `${errno}, ${call.label} ${call.occurrence}`;

/** Runs the stage with this error, and checks what holds for the report of any command. */
async function reportOf(stage: Stage, { call, errno }: Trial): Promise<Report> {
  const { exitCode, stdout, stderr } = await disturb(stage, call, `error=${errno}`);
  expect(stderr).toBe("");
  const report = parseReport(stdout);
  checkExit(report, exitCode);
  const { error } = report;
  if (error === null) {
    successes += 1;
    return report;
  }
  failures += 1;
  if (errno === "EINTR") expect(retried.has(call.kind)).toBeFalse();
  expect(error.code).not.toBe("internal");
  if (error.code !== codeOf[errno]) expect(`${error.message} ${error.hint}`).toContain(errno);
  if (argvOf(stage) === "up") checkReport(report, exitCode, false);
  return report;
}

const argvOf = ({ argv }: Stage): string => argv[1] ?? "";

/** A failed `up` leaves nothing mounted or attached that was not so before, and what was so stays. */
function expectTakenBack(stage: Stage, { error, notes, mounts }: Report): void {
  const { box, file, uuid, before } = stage;
  expect(mounts).toBeEmpty();
  expect(ourMounts(box)).toEqual([...before().mounts]);
  expect(attachedLoops(box.dir).size).toBe(before().loops);
  expect(notes.filter((note) => /still mounted|could not be put back/.test(note))).toBeEmpty();
  const isDisk = before().loops > 0;
  if (error?.code === "unreadable" && uuid === null && isDisk) expectNotFormatted(file);
}

/** A disk that cannot be read is never taken for a blank one: at most an intent record is on it. */
const expectNotFormatted = (file: string): void =>
  expect(nonZeroBlocks(file).length).toBeLessThan(2);

test.each([...upStages])(
  "an error of any system call of up on %s is told or made good, and the next run finishes the work",
  async (name) => {
    const stage = await stageOf(sandbox(), name);
    await everyPoint(await trialsOf(stage), nameOf, async (trial) => {
      const report = await reportOf(stage, trial);
      if (report.error === null) expectUp(stage, report);
      else expectTakenBack(stage, report);
      await expectRecovers(stage);
    });
  },
  depth(2, 120) * MINUTES,
);

test.each([...downStages])(
  "an error of any system call of down on %s is told or made good, and nothing is lost",
  async (name) => {
    const stage = await stageOf(sandbox(), name);
    await everyPoint(await trialsOf(stage), nameOf, async (trial) => {
      const report = await reportOf(stage, trial);
      if (report.error === null) {
        expect(filesystemGone(stage.uuid ?? "")).toBeTrue();
        expect(attachedLoops(stage.box.dir).size).toBe(0);
      }
      await expectRecovers(stage);
    });
  },
  depth(2, 120) * MINUTES,
);

/** The n-th mount fails, and so does every unmount from the m-th on: counted from the last mount back. */
const rollbacks = [
  { mounts: 6, unmounts: "1", stuck: 1 },
  { mounts: 4, unmounts: "2", stuck: 1 },
  { mounts: 4, unmounts: "3", stuck: 1 },
  { mounts: 4, unmounts: "1+", stuck: 3 },
];

test.each(rollbacks)(
  "mounts that cannot be taken back are told: mount $mounts fails, unmounts $unmounts",
  async ({ mounts, unmounts, stuck }) => {
    const stage = await stageOf(sandbox(), "a volume");
    const call = (await callsOf(stage)).filter(({ kind }) => kind === "mount")[mounts - 1];
    if (call === undefined) throw new Error("there are not as many mounts");
    const { stdout } = await disturb(
      stage,
      call,
      "error=EIO",
      `umount2:error=EIO:when=${unmounts}`,
    );
    const report = parseReport(stdout);
    const left = ourMounts(stage.box);
    expect(left).toHaveLength(stuck);
    const isNoted = (path: string): boolean =>
      report.notes.includes(`${path} is still mounted: EIO`);
    for (const mount of left) expect(isNoted(mount.replace(/^\S+ /, ""))).toBeTrue();
    const subvolumes = left.filter((mount) => !mount.startsWith("/ "));
    expect(report.mounts.map(({ subvolume, path }) => `/${subvolume} ${path}`)).toEqual(
      subvolumes.toReversed(),
    );
    const isWholeLeft = subvolumes.length < left.length;
    expect(stepOutcomes(report).mount).toBe(isWholeLeft ? "changed" : "kept");
    await expectRecovers(stage);
  },
);

test("an unmount that finds somebody in there already is made out of sight, and told", async () => {
  const stage = await stageOf(sandbox(), "a volume");
  const call = (await callsOf(stage)).filter(({ kind }) => kind === "mount").at(-1);
  if (call === undefined) throw new Error("there is no mount");
  const { stdout } = await disturb(stage, call, "error=EIO", "umount2:error=EBUSY:when=2");
  expect(parseReport(stdout).notes.join("\n")).toMatch(/was in use .* out of sight until it ends/);
  expect(ourMounts(stage.box)).toBeEmpty();
  await expectRecovers(stage);
});

/** Fails the first call of this kind, and then `undo`, the first call after it of its own kind. */
async function failingTwice(stage: Stage, kind: string, undo: RegExp): Promise<Report> {
  const [undoKind = ""] = undo.source.split(" ");
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const calls = await callsOf(stage);
    const place = calls.findIndex((one) => one.kind === kind);
    const call = calls[place];
    if (call === undefined) throw new Error(`there is no ${kind}`);
    const before = calls.slice(0, place).findLast((one) => one.kind === undoKind)?.nth ?? 0;
    try {
      const more = `${undoKind}:error=EIO:when=${before + 1}`;
      const outcome = await disturb(stage, call, "error=ENOMEM", more);
      const isHit = outcome.calls.some(({ label, injected }) => injected && undo.test(label));
      if (isHit) return parseReport(outcome.stdout);
    } catch (error) {
      // Another test's loop device, which was asked too, makes the count differ.
      if (!(error instanceof NotMet)) throw error;
    }
  }
  throw new Error(`${kind} and ${undo} did not both fail`);
}

test.each([
  ["the new image cannot be removed", "ftruncate", /unlinkat /, /could not be removed: EIO/],
  [
    "the loop device cannot be detached",
    "fsync",
    /ioctl .*LOOP_CLR_FD/,
    /could not be put back as it was: .*EIO/,
  ],
] as const)("a failure with an image tells that %s", async (_, kind, undo, said) => {
  const stage = await stageOf(sandbox(), "a missing image");
  const { notes, error } = await failingTwice(stage, kind, undo);
  expect(error?.message).toContain("ENOMEM");
  expect(notes.join()).toMatch(said);
  await expectRecovers(stage);
});

/** Of each kind the first call of an `up` that makes an image. */
test.each([...retried])("a %s that a signal interrupts is made again", async (kind) => {
  const stage = await stageOf(sandbox(), "a missing image");
  const call = (await callsOf(stage)).find((one) => one.kind === kind);
  if (call === undefined) throw new Error(`there is no ${kind}`);
  const { stdout } = await disturb(stage, call, "error=EINTR");
  expect(parseReport(stdout)).toMatchObject({ error: null, outcome: "changed", notes: [] });
  await expectRecovers(stage);
});

test.each(["first", "last"])(
  "a read error at the %s look past the page cache is told as one, and nothing is written",
  async (which) => {
    const stage = await stageOf(sandbox(), "a blank disk");
    const calls = await callsOf(stage);
    const looks = calls.flatMap(({ label }, i) => (label.includes("BLKFLSBUF") ? [i] : []));
    // The third is after mkfs: what is read then is what is on the disk.
    expect(looks).toHaveLength(3);
    const call = calls
      .slice(which === "first" ? looks[0] : looks[1])
      .find(({ kind }) => kind === "pread64");
    if (call === undefined) throw new Error("the disk is not read again");
    const { stdout } = await disturb(stage, call, "error=EIO");
    const { error } = parseReport(stdout);
    expect(error).toMatchObject({ code: "unreadable", message: expect.stringContaining("EIO") });
    expect(nonZeroBlocks(stage.file)).toBeEmpty();
  },
);

test("a mkfs.btrfs that cannot be started is a failed format, and leaves the disk blank", async () => {
  const stage = await stageOf(sandbox(), "a blank disk");
  const call = (await callsOf(stage)).find(({ kind }) => kind === "vfork");
  if (call === undefined) throw new Error("nothing is started");
  const { stdout } = await disturb(stage, call, "error=ENOMEM");
  const { error } = parseReport(stdout);
  expect(error).toMatchObject({
    code: "format-failed",
    message: expect.stringContaining("ENOMEM"),
  });
  expect(nonZeroBlocks(stage.file)).toBeEmpty();
  await expectRecovers(stage);
});
