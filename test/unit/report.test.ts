import { describe, expect, test } from "bun:test";
import { parseSuperblock } from "../../src/btrfs/superblock.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import { type ErrorCode, exitStatusOf, VolumeError } from "../../src/volume/error.ts";
import { Recorder, type StepName, type StepOutcome } from "../../src/volume/report.ts";
import { fakeKernel } from "./support/fake-kernel.ts";
import { superblock } from "./support/superblock.ts";

/** A clock that a test sets. */
function clocked() {
  const clock = { ms: 1000 };
  return { clock, recorder: new Recorder(fakeKernel({ nowMs: () => clock.ms })) };
}

const step = (outcome: StepOutcome) => ({ outcome, detail: "d" });

describe("the outcome of the whole", () => {
  test.each([
    [[], "unchanged"],
    [["kept"], "unchanged"],
    [["kept", "kept"], "unchanged"],
    [["kept", "unknown"], "unchanged"],
    [["kept", "changed", "kept"], "changed"],
    [["changed", "unknown"], "changed"],
  ] as const)("steps %p: %s", (outcomes, whole) => {
    const { recorder } = clocked();
    const names: StepName[] = ["device", "filesystem", "mount"];
    outcomes.forEach((outcome, i) => {
      recorder.set(names[i] ?? "nocow", step(outcome));
    });
    const report = recorder.report();
    expect(report.outcome).toBe(whole);
    expect("error" in report).toBe(false);
  });

  test("a failure is the outcome, whatever was changed before it", () => {
    const { recorder } = clocked();
    recorder.set("device", step("changed"));
    recorder.fail(new VolumeError("foreign", "m", { hint: "h" }));
    expect(recorder.report()).toMatchObject({
      outcome: "failed",
      error: { code: "foreign", message: "m", hint: "h" },
    });
  });

  test("an error without a hint has none in the report", () => {
    const { recorder } = clocked();
    recorder.fail(new VolumeError("foreign", "m"));
    expect(recorder.report().error).toEqual({ code: "foreign", message: "m" });
  });
});

describe("the step that failed", () => {
  test("is the one that was running", () => {
    const { recorder } = clocked();
    recorder.set("device", step("kept"));
    const work = () => {
      throw new VolumeError("damaged", "broken");
    };
    try {
      recorder.in("filesystem", work);
    } catch (error) {
      recorder.fail(error);
    }
    expect(recorder.report().steps).toEqual([
      { step: "device", outcome: "kept", detail: "d", ms: 0 },
      { step: "filesystem", outcome: "failed", detail: "broken", ms: 0 },
    ]);
  });

  test("steps stand in the order in which they were first reported, each once", () => {
    const { recorder } = clocked();
    recorder.set("device", step("kept"));
    recorder.set("filesystem", step("kept"));
    recorder.set("device", step("changed"));
    expect(recorder.report().steps.map((each) => [each.step, each.outcome])).toEqual([
      ["device", "changed"],
      ["filesystem", "kept"],
    ]);
  });

  test("what was taken back after a failure no longer counts as changed", () => {
    const { recorder } = clocked();
    recorder.set("device", step("kept"));
    recorder.set("filesystem", step("changed"));
    recorder.set("mount", step("changed"));
    recorder.set("capacity", step("unknown"));
    recorder.retract("device", "mount", "capacity", "nocow");
    const outcomes = recorder.report().steps.map(({ outcome }) => outcome);
    expect(outcomes).toEqual(["kept", "changed", "kept", "unknown"]);
  });
});

describe("what a failure is called", () => {
  const codeOf = (error: unknown, during: StepName = "device"): ErrorCode | undefined => {
    const { recorder } = clocked();
    recorder.in(during, () => undefined);
    recorder.fail(error);
    return recorder.report().error?.code;
  };

  test("of too few open files the hint says how to allow more", () => {
    const { recorder } = clocked();
    recorder.fail(new SystemError("open", Errno.EMFILE, "/dev/vdb"));
    expect(recorder.report().error).toMatchObject({
      message: "open /dev/vdb: EMFILE",
      hint: expect.stringContaining("ulimit -n"),
    });
  });

  test("a fault of the program is internal", () => {
    expect(codeOf(new TypeError("x is undefined"))).toBe("internal");
    expect(codeOf("text")).toBe("internal");
  });

  test.each([
    [Errno.EPERM, "permission"],
    [Errno.EACCES, "permission"],
    [Errno.ENOSPC, "no-space"],
    [Errno.EDQUOT, "no-space"],
    [Errno.EROFS, "read-only"],
    [Errno.EMFILE, "unsupported"],
    [Errno.EBUSY, "busy"],
    [Errno.ENOSYS, "unsupported"],
  ] as const)("a system call that failed with %i is %s, in whatever step", (errno, code) => {
    for (const during of ["device", "mount", "nocow", "detach"] as const) {
      expect(codeOf(new SystemError("call", errno), during)).toBe(code);
    }
  });

  test.each([
    ["device", "unreadable"],
    ["filesystem", "unreadable"],
    ["mount", "mount-failed"],
    ["subvolumes", "mount-failed"],
    ["unmount", "busy"],
    ["detach", "busy"],
  ] as const)("any other in the step %s is %s, and never internal", (during, code) => {
    expect(codeOf(new SystemError("pread", Errno.EIO), during)).toBe(code);
  });
});

describe("times", () => {
  test("parts of a step add up, and the whole is from start to end", () => {
    const { clock, recorder } = clocked();
    const take = (ms: number) => () => {
      clock.ms += ms;
    };
    recorder.in("device", take(1.5));
    recorder.in("filesystem", take(10));
    clock.ms += 100;
    recorder.in("device", take(2.25));
    recorder.set("device", step("kept"));
    recorder.set("filesystem", step("kept"));
    const report = recorder.report();
    expect(report.steps.map(({ ms }) => ms)).toEqual([3.75, 10]);
    expect(report.ms).toBe(113.75);
  });

  test("counts a part inside another part once, for the inner one's step", () => {
    const { clock, recorder } = clocked();
    const take = (ms: number) => () => {
      clock.ms += ms;
    };
    recorder.in("mount", () => {
      take(1)();
      recorder.in("filesystem", () => {
        take(10)();
        recorder.in("filesystem", take(100));
      });
      take(1000)();
      recorder.in("filesystem", take(10_000));
    });
    recorder.set("filesystem", step("kept"));
    recorder.set("mount", step("kept"));
    expect(recorder.report().steps.map(({ ms }) => ms)).toEqual([10_110, 1001]);
  });

  test("have two decimals", () => {
    const { clock, recorder } = clocked();
    clock.ms += 1 / 3;
    expect(recorder.report().ms).toBe(0.33);
  });

  test("count for a part that threw too", () => {
    const { clock, recorder } = clocked();
    const work = () => {
      clock.ms += 7;
      throw new VolumeError("busy", "m");
    };
    expect(() => recorder.in("device", work)).toThrow("m");
    recorder.fail(new VolumeError("busy", "m"));
    expect(recorder.report().steps[0]?.ms).toBe(7);
  });
});

test("the UUID is the filesystem's where it is known, else none", () => {
  const uuidAfter = (verdict: Parameters<Recorder["found"]>[0]) => {
    const { recorder } = clocked();
    recorder.found(verdict);
    return [recorder.report().verdict, recorder.report().uuid];
  };
  const sound = parseSuperblock(superblock({ fsid: 0xab }));
  expect(uuidAfter({ kind: "btrfs", superblock: sound })).toEqual([
    "btrfs",
    "abababab-abab-abab-abab-abababababab",
  ]);
  expect(uuidAfter({ kind: "mounted", uuid: "u" })).toEqual(["mounted", "u"]);
  expect(uuidAfter({ kind: "blank" })).toEqual(["blank", null]);
});

test("the exit statuses are those of the contract", () => {
  const statuses: Record<number, string> = {};
  for (const [code, status] of Object.entries(exitStatusOf)) {
    statuses[status] = `${statuses[status] ?? ""} ${code}`.trim();
  }
  expect(statuses).toEqual({
    1: "internal",
    2: "usage layout",
    3: "device-missing device-ambiguous not-a-block-device",
    4: "foreign unknown blank interrupted",
    5: "damaged wiped ambiguous hopeless unreadable shrunk multi-device",
    6: "format-failed mkfs-missing too-small",
    7: "mount-failed read-only target-occupied not-a-subvolume no-space",
    8: "busy",
    9: "permission unsupported",
  });
});
