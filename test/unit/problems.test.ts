import { describe, expect, test } from "bun:test";
import {
  checkStatusOf,
  type HealthFacts,
  healthOf,
  type ProblemLevel,
} from "../../src/volume/problems.ts";
import { nothing } from "../../src/volume/status-report.ts";
import { GiB } from "./support/sparse-disk.ts";

type SeenStatus = HealthFacts["status"];

const sound: SeenStatus = {
  ...nothing,
  state: "up",
  device: "/dev/vdb",
  verdict: "mounted",
  uuid: "u",
  label: "l",
  bytes: { device: GiB, filesystem: GiB, used: 1, writable: 2, unallocated: 3 },
  options: "rw",
  readOnly: false,
  forcedReadOnly: false,
  subvolumes: [
    { name: "@a", id: 256, path: "/a", mounted: true, nocow: [{ directory: "d", set: true }] },
  ],
  superblocks: [{ offset: 65_536, state: "valid", generation: 7 }],
  errors: { write: 0, read: 0, flush: 0, corruption: 0, generation: 0 },
};

const facts = (
  status: Partial<SeenStatus> = {},
  others: Partial<Omit<HealthFacts, "status">> = {},
): HealthFacts => ({
  status: { ...sound, ...status },
  refusal: null,
  stranger: null,
  twin: null,
  keptBy: null,
  readOnlySubvolumes: [],
  wronglyNocow: [],
  full: [],
  compressed: [],
  databaseFiles: [],
  isPartlyHidden: false,
  smallerDisk: null,
  hostSpace: null,
  deletion: null,
  mountPath: "/raw",
  wholePath: "/raw",
  readOnlyMounts: [],
  deviations: [],
  ...others,
});

test("a volume of which everything is seen and nothing is wrong is healthy", () => {
  const health = healthOf(facts());
  expect(health).toEqual({ healthy: true, problems: [] });
  expect(checkStatusOf(health)).toBe(0);
});

test("what could not be looked at is not called healthy, and no problem either", () => {
  for (const hidden of [
    facts({}, { isPartlyHidden: true }),
    facts({ verdict: null }),
    facts({ state: "absent", device: "/dev/vdb", verdict: null }, { isPartlyHidden: true }),
  ]) {
    const health = healthOf(hidden);
    expect(health).toEqual({ healthy: false, problems: [] });
    expect(checkStatusOf(health)).toBe(3);
  }
});

const refusal = { code: "foreign", message: "it holds an ext4", hint: "choose another" } as const;
const words = { message: "it is so", hint: "do that" };
const host = { image: "/srv/data.img", path: "/srv", availableBytes: GiB, neededBytes: GiB };
const rows: readonly (readonly [string, HealthFacts, string, ProblemLevel])[] = [
  [
    "read-only after an error",
    facts({ readOnly: true, forcedReadOnly: true, bytes: { ...sound.bytes, writable: 0 } }),
    "forced-read-only",
    "critical",
  ],
  [
    "read-only by hand",
    facts({ readOnly: true, bytes: { ...sound.bytes, writable: 0 } }),
    "read-only",
    "critical",
  ],
  ["full", facts({ bytes: { ...sound.bytes, writable: 0 } }), "full", "critical"],
  [
    "a read-only subvolume",
    facts({}, { readOnlySubvolumes: [{ name: "@a", hint: "volume up makes it writable" }] }),
    "read-only-subvolume",
    "critical",
  ],
  [
    "a disk that became smaller",
    facts({ bytes: { ...sound.bytes, writable: 0 } }, { smallerDisk: words }),
    "shrunk",
    "critical",
  ],
  [
    "an image that was deleted",
    facts({}, { deletion: { what: words.message, hint: words.hint } }),
    "deleted-image",
    "critical",
  ],
  [
    "a host that has too little",
    facts({}, { hostSpace: { ...host, availableBytes: GiB - 1 } }),
    "host-space",
    "warning",
  ],
  [
    "a host that is full",
    facts(
      { bytes: { ...sound.bytes, writable: 0 } },
      { hostSpace: { ...host, availableBytes: 0 } },
    ),
    "host-space",
    "critical",
  ],
  [
    "options of somebody else's",
    facts({}, { deviations: [{ of: "mount", ...words }] }),
    "mount-options",
    "warning",
  ],
  ["partly mounted", facts({ state: "partial" }), "partial", "critical"],
  ["down", facts({ state: "down", verdict: "btrfs" }), "down", "critical"],
  ["mounted, but not here", facts({ state: "down" }), "down", "critical"],
  ["blank", facts({ state: "down", verdict: "blank" }), "down", "critical"],
  ["damaged", facts({ state: "down", verdict: "damaged" }), "damaged", "critical"],
  [
    "a disk that is refused",
    facts({ state: "down", verdict: "foreign" }, { refusal }),
    "foreign",
    "critical",
  ],
  [
    "no disk",
    facts({ state: "absent", verdict: null }, { refusal: { ...refusal, code: "device-missing" } }),
    "device-missing",
    "critical",
  ],
  [
    "a second device",
    facts({}, { stranger: { ...refusal, code: "multi-device" } }),
    "multi-device",
    "critical",
  ],
  [
    "the same bytes elsewhere",
    facts({ state: "down", verdict: "btrfs" }, { twin: "/dev/loop1" }),
    "same-disk",
    "critical",
  ],
  [
    "errors of the disk",
    facts({ errors: { write: 0, read: 1, flush: 0, corruption: 0, generation: 0 } }),
    "disk-errors",
    "warning",
  ],
  [
    "a larger disk",
    facts({ bytes: { ...sound.bytes, device: GiB + 4096 } }),
    "larger-disk",
    "warning",
  ],
  [
    "a bad copy",
    facts({ superblocks: [{ offset: 65_536, state: "zero", generation: null }] }),
    "superblock-copy",
    "warning",
  ],
  ...([false, null] as const).map(
    (set) =>
      [
        `NOCOW that is ${set}`,
        facts({
          subvolumes: [
            { name: "@a", id: 256, path: "/a", mounted: true, nocow: [{ directory: "d", set }] },
          ],
        }),
        "not-nocow",
        "warning",
      ] as const,
  ),
];

describe("each thing that is wrong is one problem", () => {
  test.each(rows)("%s", (_what, given, code, level) => {
    const health = healthOf(given);
    expect(health.healthy).toBeFalse();
    expect(health.problems.map((problem) => `${problem.code} ${problem.level}`)).toEqual([
      `${code} ${level}`,
    ]);
    for (const { message, hint } of health.problems) {
      expect(message).not.toBe("");
      expect(hint).not.toBe("");
    }
    expect(checkStatusOf(health)).toBe(level === "critical" ? 2 : 1);
  });
});

test("the worst decides the exit status, wherever it stands", () => {
  const both = facts({
    bytes: { ...sound.bytes, device: 2 * GiB, writable: 0 },
    errors: { write: 1, read: 0, flush: 0, corruption: 0, generation: 0 },
  });
  const health = healthOf(both);
  expect(health.problems.map(({ code }) => code)).toEqual(["full", "disk-errors", "larger-disk"]);
  expect(checkStatusOf(health)).toBe(2);
});
