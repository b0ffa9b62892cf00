import { expect, test } from "bun:test";
import { Errno } from "../../../src/linux/errno.ts";
import type { Call, Fault } from "../../kit/simulated/faults.ts";
import { cleanRun, dieEverywhere, tryError } from "./disturb.ts";
import { hasRecord, storageOf } from "./facts.ts";
import { namedPlaces, type PlaceState } from "./inside.ts";
import { run } from "./run.ts";
import { sceneOf } from "./scene.ts";
import { type Start, usualStart } from "./start.ts";

/** What the property test has found once, by name: each of them was a defect. */

const errno = (name: keyof typeof Errno): Fault => ({ kind: "errno", errno: Errno[name] });

/** The call that `fits`, counted from 0, goes wrong; every claim of the property must hold then. */
function provoke(
  start: Partial<Start>,
  fits: (call: Call, at: number, calls: readonly Call[]) => boolean,
  fault: Fault,
  { nth = 0, lasting = false } = {},
): void {
  const tried = cleanRun({ ...usualStart, ...start });
  const { calls } = tried.clean;
  const at = calls.flatMap((call, i) => (fits(call, i, calls) ? [i] : []))[nth];
  if (at === undefined) throw new Error("there is no such call");
  tryError(tried, { at, fault, lasting });
}

const newImage = { verdict: "blank", source: "image", isMissing: true } as const;

test("an attached image whose loop device cannot be opened is not attached once more", () => {
  const isLoop = ({ name, what }: Call) => name === "open" && what === "/dev/loop0";
  provoke({ source: "attached" }, isLoop, errno("ENOENT"), { nth: 1 });
});

test("a device that will not say whether it is read-only is closed", () => {
  provoke({}, ({ what }) => what === "BLKROGET", errno("EIO"));
});

test("a root whose path cannot be read is closed", () => {
  const isPath = ({ name, what }: Call) => name === "readlink" && what.startsWith("/proc/self/fd/");
  provoke({}, isPath, errno("EIO"));
});

test("a loop device that was taken back is not reported as attached", () => {
  provoke({ source: "image" }, ({ what }) => what === "SUBVOL_CREATE", errno("ENOSPC"));
});

test("a new image is removed when its format fails before it wrote anything", () => {
  const isLastRead = (_: Call, at: number, calls: readonly Call[]) =>
    at ===
    calls
      .slice(
        0,
        calls.findIndex(({ name }) => name === "pwrite"),
      )
      .findLastIndex(isRead);
  const isRead = ({ name }: Call): boolean => name === "pread";
  provoke(newImage, isLastRead, errno("EIO"));
});

test("a directory that was made and could not be flagged is reported as a change", () => {
  const flagged = namedPlaces.map(
    ({ kind }): PlaceState => (kind === "plain" ? "plain" : "flagged"),
  );
  const firstDirectory = namedPlaces.findIndex(({ kind }) => kind === "directory");
  const inside = { subvolumes: [true, true, true, true, true], odd: null };
  provoke(
    { inside: { ...inside, nocow: flagged.with(firstDirectory, "missing") } },
    ({ what }) => what === "FS_IOC_SETFLAGS",
    errno("ENOSPC"),
  );
});

test("a root that vanishes is no fault of the program", () => {
  const isBeneath = ({ name }: Call) => name === "openBeneath";
  provoke({ root: "/srv/new/deep" }, isBeneath, errno("ENOENT"), { lasting: true });
});

test("data at the end of an attached image that is to grow keeps it from being blank", () => {
  const start: Start = { ...usualStart, verdict: "unknown", variant: 2 };
  const { clean } = cleanRun({ ...start, source: "attached", growImage: true });
  expect(clean.report.error?.code).toBe("unknown");
});

test("a record of a format beside a damaged filesystem goes with the repair", () => {
  const { scene, clean } = cleanRun({
    ...usualStart,
    verdict: "damaged",
    variant: 1,
    record: true,
  });
  const storage = storageOf(clean.world, scene);
  expect(storage !== null && hasRecord(storage)).toBeFalse();
});

test("when the power fails while old copies are erased, the next run formats all the same", () => {
  const start: Start = { ...usualStart, verdict: "wiped", format: "any", repair: "never" };
  dieEverywhere(cleanRun(start), 10);
});

test("when the power fails in a repair, the next run repairs", () => {
  dieEverywhere(cleanRun({ ...usualStart, verdict: "damaged", variant: 0 }), 10);
});

test("an mkfs that cannot be started leaves no record of a format", () => {
  const scene = sceneOf({ ...usualStart, verdict: "blank" });
  const at = cleanRun(scene.start).clean.calls.findIndex(({ name }) => name === "run");
  const fault: Fault = { kind: "mkfs", fault: { kind: "spawn", errno: Errno.EACCES } };
  const { report, world } = run(scene.world.clone(), scene, { at, fault, lasting: false });
  expect(report.error?.code).toBe("format-failed");
  expect(storageOf(world, scene)?.content().size).toBe(0);
});

test("an mkfs that gave up half-way in an image leaves the record, and the next run finishes", () => {
  const isMkfs = ({ name }: Call) => name === "run";
  provoke(newImage, isMkfs, { kind: "mkfs", fault: { kind: "exit", afterSteps: 5 } });
});
