import { describe, expect, test } from "bun:test";
import { parseSuperblock } from "../../src/btrfs/superblock.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import type { ErrorCode } from "../../src/volume/error.ts";
import {
  decideFilesystem,
  type FilesystemAction,
  filesystemResult,
  leastDeviceBytes,
} from "../../src/volume/filesystem.ts";
import { formatPolicies, repairPolicies } from "../../src/volume/options.ts";
import type { Verdict } from "../../src/volume/verdict.ts";
import { expectRefused, refusalOf } from "./support/refused.ts";
import { GiB } from "./support/sparse-disk.ts";
import { flipped, mirrorPlace, superblock } from "./support/superblock.ts";

type Kind = Verdict["kind"];

const sound = parseSuperblock(superblock());
const primary = parseSuperblock(flipped(superblock(), 1000));
const mirror = parseSuperblock(superblock({ address: mirrorPlace }));

const verdicts: { readonly [K in Kind]: Extract<Verdict, { kind: K }> } = {
  unreadable: { kind: "unreadable", cause: new SystemError("pread", Errno.EIO) },
  mounted: { kind: "mounted", uuid: "f5" },
  foreign: { kind: "foreign", name: "XFS", superblock: null, isAtEnd: false },
  btrfs: { kind: "btrfs", superblock: sound },
  "multi-device": { kind: "multi-device", superblock: sound },
  shrunk: { kind: "shrunk", superblock: sound },
  wiped: { kind: "wiped", primary, mirror },
  damaged: { kind: "damaged", primary, mirror },
  ambiguous: { kind: "ambiguous", primary, mirror },
  interrupted: { kind: "interrupted" },
  hopeless: { kind: "hopeless" },
  blank: { kind: "blank" },
  unknown: { kind: "unknown", offset: 4711 },
};
const kinds = Object.keys(verdicts) as Kind[];

const facts = {
  device: "/dev/vdb",
  sizeBytes: GiB,
  readOnly: false,
  format: "blank",
  repair: "auto",
} as const;

type Facts = Parameters<typeof decideFilesystem>[0];
type Settled = FilesystemAction["kind"] | "overwrite" | `refused: ${ErrorCode}`;

/** One word for what is decided: "format" is of a blank disk, "overwrite" of one that is not. */
function decided(given: Partial<Facts> & Pick<Facts, "verdict">): Settled {
  let action: FilesystemAction;
  try {
    action = decideFilesystem({ ...facts, ...given });
  } catch {
    return `refused: ${refusalOf(() => decideFilesystem({ ...facts, ...given })).code}`;
  }
  return action.kind === "format" && action.overwrite ? "overwrite" : action.kind;
}

/** Section 4 of the contract, one line a verdict: what each policy comes to. */
const table: Record<
  Kind,
  {
    /** With --format blank and --repair auto. */
    readonly usual: Settled;
    readonly formatNever: Settled;
    readonly formatAny: Settled;
    readonly repairNever: Settled;
    readonly repairAlways: Settled;
  }
> = {
  unreadable: refusedAlways("unreadable"),
  mounted: always("keep"),
  foreign: formattedOnDemand("foreign"),
  btrfs: always("keep"),
  "multi-device": refusedAlways("multi-device"),
  shrunk: refusedAlways("shrunk"),
  wiped: { ...formattedOnDemand("wiped"), repairAlways: "repair" },
  damaged: { ...always("repair"), repairNever: "refused: damaged" },
  ambiguous: { ...formattedOnDemand("ambiguous"), repairAlways: "repair" },
  interrupted: { ...always("overwrite"), formatNever: "refused: interrupted" },
  hopeless: formattedOnDemand("hopeless"),
  blank: { ...always("format"), formatNever: "refused: blank" },
  unknown: formattedOnDemand("unknown"),
};

function always(usual: Settled) {
  const [formatNever, formatAny, repairNever, repairAlways] = [usual, usual, usual, usual];
  return { usual, formatNever, formatAny, repairNever, repairAlways };
}

function refusedAlways(code: ErrorCode) {
  return always(`refused: ${code}`);
}

function formattedOnDemand(code: ErrorCode) {
  return { ...refusedAlways(code), formatAny: "overwrite" as const };
}

describe.each(kinds)("%s", (kind) => {
  const verdict = verdicts[kind];
  const expected = table[kind];

  test("by default", () => {
    expect(decided({ verdict })).toBe(expected.usual);
  });
  test("with --format never", () => {
    expect(decided({ verdict, format: "never" })).toBe(expected.formatNever);
  });
  test("with --format any", () => {
    expect(decided({ verdict, format: "any" })).toBe(expected.formatAny);
  });
  test("with --repair never", () => {
    expect(decided({ verdict, repair: "never" })).toBe(expected.repairNever);
  });
  test("with --repair always", () => {
    expect(decided({ verdict, repair: "always" })).toBe(expected.repairAlways);
  });

  test("a repair that is allowed goes before a format that is allowed", () => {
    const both = decided({ verdict, format: "any", repair: "always" });
    const repaired = expected.repairAlways === "repair";
    expect(both).toBe(repaired ? "repair" : expected.formatAny);
  });

  test("nothing at all happens to it without a policy that allows it", () => {
    const settled = decided({ verdict, format: "never", repair: "never" });
    expect(settled).toBe(expected.usual === "keep" ? "keep" : `refused: ${kind as ErrorCode}`);
  });

  test("on a read-only disk nothing is written, and nothing comes up", () => {
    for (const format of formatPolicies) {
      for (const repair of repairPolicies) {
        const writable = decided({ verdict, format, repair });
        const expectedHere = writable.startsWith("refused") ? writable : "refused: read-only";
        expect(decided({ verdict, format, repair, readOnly: true })).toBe(expectedHere);
      }
    }
  });

  test("a disk too small for a Btrfs is not formatted", () => {
    const sizeBytes = leastDeviceBytes - 1;
    const small = { sizeBytes, format: "any" } as const;
    const isFormatted = expected.formatAny === "overwrite" || expected.formatAny === "format";
    const settled = decided({ ...small, verdict });
    if (isFormatted) expect(settled).toBe("refused: too-small");
    else expect(settled).not.toBe("format");
    expect(decided({ verdict, format: "any", sizeBytes: leastDeviceBytes })).not.toBe(
      "refused: too-small",
    );
  });
});

test("--format any never destroys a Btrfs that is there, or a disk that could not be read", () => {
  const protectedKinds: Kind[] = [
    "btrfs",
    "mounted",
    "multi-device",
    "shrunk",
    "damaged",
    "unreadable",
  ];
  for (const kind of protectedKinds) {
    for (const repair of repairPolicies) {
      for (const readOnly of [false, true]) {
        const verdict = verdicts[kind];
        expect(decided({ verdict, format: "any", repair, readOnly })).not.toMatch(
          /format|overwrite/,
        );
      }
    }
  }
});

test("mkfs is told that something may go only where something is there", () => {
  expect(decideFilesystem({ ...facts, verdict: verdicts.blank })).toEqual({
    kind: "format",
    overwrite: false,
  });
  expect(decideFilesystem({ ...facts, verdict: verdicts.interrupted })).toEqual({
    kind: "format",
    overwrite: true,
  });
});

test("a repair is made from the mirror of the verdict", () => {
  const action = decideFilesystem({ ...facts, verdict: verdicts.damaged });
  expect(action).toEqual({ kind: "repair", primary, mirror });
});

describe("a repair that would rebuild an unusable filesystem is refused", () => {
  const large = parseSuperblock(superblock({ deviceBytes: GiB + 1 }));
  const many = parseSuperblock(superblock({ deviceCount: 2 }));
  test.each(["wiped", "damaged", "ambiguous"] as const)("%s", (kind) => {
    const always = { format: "any", repair: "always" } as const;
    expect(decided({ ...always, verdict: { kind, primary, mirror: large } })).toBe(
      "refused: shrunk",
    );
    const verdict = { kind, primary, mirror: many };
    expect(decided({ ...always, verdict, hasSeveralDevices: true })).toBe("refused: multi-device");
    expect(decided({ ...always, verdict, hasSeveralDevices: false })).toBe("repair");
  });
});

describe("a refusal names the disk and what can be done", () => {
  const decide =
    (verdict: Verdict, more: Partial<Facts> = {}) =>
    () =>
      decideFilesystem({ ...facts, ...more, verdict });
  test("foreign: whose it is", () => {
    expectRefused(decide(verdicts.foreign), "foreign", "/dev/vdb", "XFS", "--format any");
  });
  test("unknown: where it is not zero", () => {
    expectRefused(decide(verdicts.unknown), "unknown", "/dev/vdb", "4711");
  });
  test("unreadable: the errno", () => {
    expectRefused(decide(verdicts.unreadable), "unreadable", "EIO");
    expect(refusalOf(decide(verdicts.unreadable)).cause).toBe(verdicts.unreadable.cause);
  });
  test("shrunk: both sizes", () => {
    const more = { sizeBytes: GiB - 512 };
    expectRefused(decide(verdicts.shrunk, more), "shrunk", `${GiB - 512}`, `${GiB}`);
  });
  test("wiped and ambiguous: the flag that revives", () => {
    expectRefused(decide(verdicts.wiped), "wiped", "--repair always");
    expectRefused(decide(verdicts.ambiguous), "ambiguous", "--repair always", mirror.fsid);
  });
  test("hopeless: a backup, and the tools that find nothing", () => {
    const names = ["restore a backup", "super-recover", "btrfs restore", "find nothing"];
    expectRefused(decide(verdicts.hopeless), "hopeless", ...names);
  });
  test("too small: both sizes", () => {
    const more = { sizeBytes: 50 * 1024 * 1024 };
    expectRefused(decide(verdicts.blank, more), "too-small", "50 MiB", "109 MiB");
  });
  test("too small by so little that rounding hides it: their bytes", () => {
    const less = { sizeBytes: leastDeviceBytes - 1 };
    expectRefused(
      decide(verdicts.blank, less),
      "too-small",
      `109.0 MiB (${leastDeviceBytes - 1} bytes)`,
      `109 MiB (${leastDeviceBytes} bytes)`,
    );
  });
});

test("the step says what was found, and kept is only what was kept", () => {
  const outcomes = (action: FilesystemAction, kind: Kind) =>
    filesystemResult(action, verdicts[kind]);
  expect(outcomes({ kind: "keep" }, "btrfs")).toEqual({ outcome: "kept", detail: "Btrfs" });
  expect(outcomes({ kind: "keep" }, "mounted").outcome).toBe("kept");
  expect(outcomes({ kind: "keep" }, "mounted").detail).toContain("mounted");
  const repair = { kind: "repair", primary, mirror } as const;
  expect(outcomes(repair, "damaged").outcome).toBe("changed");
  expect(outcomes(repair, "damaged").detail).toContain("damaged");
  const format = { kind: "format", overwrite: false } as const;
  expect(outcomes(format, "blank").outcome).toBe("changed");
  expect(outcomes(format, "blank").detail).toContain("blank");
});
