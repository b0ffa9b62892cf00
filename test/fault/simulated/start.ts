import fc from "fast-check";
import type { FormatPolicy, RepairPolicy } from "../../../src/volume/options.ts";
import type { Verdict } from "../../../src/volume/verdict.ts";
import { GiB, MiB } from "./content.ts";
import { type Inside, namedPlaces } from "./inside.ts";

/** Sizes that matter: the least, 128 MiB and 512 GiB with a mirror in the middle, odd ones, large ones. */
const sizes = [
  GiB,
  128 * MiB,
  114_294_784,
  GiB + 512,
  700 * MiB + 1536,
  64 * GiB,
  512 * GiB,
  600 * GiB,
] as const;

const leftovers = ["missing", "empty", "full", "symlink", "file", "tmpfs", "other"] as const;
type Leftover = (typeof leftovers)[number];

/** A machine before `up`, and what `up` is asked to do. */
export interface Start {
  readonly verdict: Verdict["kind"];
  readonly variant: number;
  readonly inside: Inside;
  readonly sizeBytes: number;
  /** The filesystem is smaller than its device. */
  readonly grown: boolean;
  readonly record: boolean;
  readonly source: "device" | "image" | "attached";
  /** The image does not exist yet. Only of a blank one. */
  readonly isMissing: boolean;
  /** `--size`, as a multiple of what the image has. */
  readonly growImage: boolean;
  /** Of the six targets, the whole filesystem first: which are mounted. Only of "mounted". */
  readonly mounted: readonly boolean[];
  readonly readOnlyMount: boolean;
  readonly readOnlyDevice: boolean;
  readonly targets: readonly Leftover[];
  readonly root: "/" | "/srv/there" | "/srv/new/deep";
  readonly format: FormatPolicy | null;
  readonly formatByCmdline: boolean;
  readonly repair: RepairPolicy | null;
  readonly cover: boolean;
  readonly chosenBy: "path" | "cmdline" | "default" | "serial" | "label";
  readonly hasMkfs: boolean;
  readonly btrfsLoaded: boolean;
  /** The disk is plugged in while the program waits for it. */
  readonly late: boolean;
  readonly seed: number;
}

const usualStates = [
  "flagged",
  "plain",
  "full",
  "missing",
  "flagged",
  "flagged",
  "missing",
] as const;

/** A disk that a program like ours prepared, of which all is as usual: for tests that name what is not. */
export const usualStart: Start = {
  verdict: "btrfs",
  variant: 0,
  inside: {
    subvolumes: [true, true, true, false, true],
    odd: null,
    // In the order of namedPlaces.
    nocow: Array.from(
      { length: namedPlaces.length },
      (_, at) => usualStates[at % usualStates.length] ?? "plain",
    ),
  },
  sizeBytes: GiB,
  grown: false,
  record: false,
  source: "device",
  isMissing: false,
  growImage: false,
  mounted: [],
  readOnlyMount: false,
  readOnlyDevice: false,
  targets: [],
  root: "/",
  format: null,
  formatByCmdline: false,
  repair: null,
  cover: false,
  chosenBy: "path",
  hasMkfs: true,
  btrfsLoaded: true,
  late: false,
  seed: 1,
};

const rarely = (often = 12): fc.Arbitrary<boolean> => fc.nat(often - 1).map((n) => n === often - 1);
const mostly = <T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, ...others.map((one) => fc.constant(one)));

const insides: fc.Arbitrary<Inside> = fc.record({
  subvolumes: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
  odd: fc
    .option(
      fc.record({
        index: fc.nat(4),
        what: fc.constantFrom("directory", "symlink", "file", "read-only", "received"),
      }),
      { freq: 1, nil: null },
    )
    .chain((odd) => rarely(6).map((isOdd) => (isOdd ? odd : null))),
  nocow: fc.array(fc.constantFrom("missing", "plain", "full", "flagged"), {
    minLength: namedPlaces.length,
    maxLength: namedPlaces.length,
  }),
});

export const starts: fc.Arbitrary<Start> = fc
  .record({
    verdict: fc.constantFrom<Verdict["kind"][]>(
      "btrfs",
      "blank",
      "mounted",
      "damaged",
      "interrupted",
      "wiped",
      "ambiguous",
      "foreign",
      "unknown",
      "hopeless",
      "multi-device",
      "shrunk",
      "unreadable",
    ),
    variant: fc.nat(255),
    inside: insides,
    sizeBytes: fc.constantFrom(...sizes),
    grown: fc.boolean(),
    record: rarely(4),
    source: fc.constantFrom("device", "image", "attached"),
    isMissing: fc.boolean(),
    growImage: rarely(3),
    mounted: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
    readOnlyMount: rarely(),
    readOnlyDevice: rarely(20),
    targets: fc
      .array(mostly<Leftover>("missing", ...leftovers.slice(1)), {
        minLength: 6,
        maxLength: 6,
      })
      .chain((some) => rarely(3).map((any) => (any ? some : some.map(() => "missing" as const)))),
    root: fc.constantFrom("/", "/srv/there", "/srv/new/deep"),
    format: mostly<FormatPolicy | null>(null, "blank", "any", "any", "any", "any", "never"),
    formatByCmdline: fc.boolean(),
    repair: mostly<RepairPolicy | null>(null, "auto", "always", "always", "always", "never"),
    cover: fc.boolean(),
    chosenBy: mostly<Start["chosenBy"]>("path", "cmdline", "default", "serial", "label"),
    hasMkfs: rarely().map((not) => !not),
    btrfsLoaded: rarely(4).map((not) => !not),
    late: rarely(),
    seed: fc.nat(),
  })
  .map(madeConsistent);

const holdsFilesystem: readonly Verdict["kind"][] = ["btrfs", "mounted", "damaged"];

/** Takes away what contradicts itself, so that a shrunk example says only what matters. */
function madeConsistent(start: Start): Start {
  const isMounted = start.verdict === "mounted";
  const isDevice = start.source === "device";
  const isUnreadable = start.verdict === "unreadable";
  return {
    ...start,
    source: isUnreadable
      ? "device"
      : isMounted && start.source === "image"
        ? "attached"
        : start.source,
    isMissing: start.isMissing && start.verdict === "blank" && start.source === "image",
    // In a grown image a mark at the old end is no longer at the end: it is unknown data then.
    growImage:
      start.growImage && !isDevice && start.verdict !== "shrunk" && start.verdict !== "foreign",
    grown: start.grown && holdsFilesystem.includes(start.verdict),
    record: start.record && (start.verdict === "btrfs" || start.verdict === "damaged"),
    mounted: start.mounted.map((one) => one && isMounted && start.root !== "/srv/new/deep"),
    readOnlyMount: start.readOnlyMount && isMounted,
    readOnlyDevice: start.readOnlyDevice && isDevice && !isMounted,
    targets: start.targets.map((one) =>
      start.root === "/srv/new/deep" || (one === "other" && !isMounted) ? "missing" : one,
    ),
    formatByCmdline: start.formatByCmdline && start.format !== null,
    chosenBy: isDevice ? start.chosenBy : "path",
    late: start.late && isDevice && !isMounted,
    btrfsLoaded: start.btrfsLoaded || isMounted,
  };
}
