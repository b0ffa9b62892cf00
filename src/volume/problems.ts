import type { Mount } from "../linux/mountinfo.ts";
import { type ErrorCode, unknownHealth } from "./error.ts";
import { type HostSpace, isFull, isTooSmall, spaceHint, spaceText } from "./host-space.ts";
import { compressedHint, compressedText } from "./nocow.ts";
import type { Deviation } from "./options-in-force.ts";
import { shellWord } from "./shell-word.ts";
import { sizeText } from "./size.ts";
import type { Status } from "./status-report.ts";
import type { Compressed } from "./status-subvolumes.ts";

/** `critical`: data is at stake, or nothing can be saved; `warning`: it works, and somebody should act. */
export type ProblemLevel = "warning" | "critical";

/** One thing that is wrong with a volume. */
export interface Problem {
  /** What kind it is, for programs: a word that stays the same. Of a disk that `up` refuses, its error code. */
  readonly code: ErrorCode | OwnCode;
  readonly level: ProblemLevel;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

type OwnCode =
  | "filesystem-options"
  | "mount-options"
  | "forced-read-only"
  | "deleted-image"
  | "full"
  | "host-space"
  | "larger-disk"
  | "superblock-copy"
  | "disk-errors"
  | "read-only-subvolume"
  | "not-nocow"
  | "wrongly-nocow"
  | "partial"
  | "down"
  | "elsewhere"
  | "same-disk";

/** A reason with its advice, as errors carry them. */
export interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** All that the health of a volume is decided from. */
export interface HealthFacts {
  readonly status: Omit<Status, "healthy" | "problems" | "notes">;
  /** Why there is no disk, or `up` would refuse the one that is there; null where neither is so. */
  readonly refusal: Reason | null;
  /** Why a volume that is mounted is none of ours: a second device was added to it. */
  readonly stranger: Reason | null;
  /** Another device that shows the same bytes, and is mounted. */
  readonly twin: string | null;
  /** What keeps it mounted though nothing of it is where it belongs; null where that is not so. */
  readonly keptBy: string | null;
  /** What the filesystem has left that the image lies on. */
  readonly hostSpace: HostSpace | null;
  /** The image was deleted, and its loop device has the only copy. */
  readonly deletion: { readonly what: string; readonly hint: string } | null;
  /** Those in which nothing can be saved, and what to do about each. */
  readonly readOnlySubvolumes: readonly { readonly name: string; readonly hint: string }[];
  /** Directories of layers, blobs or nothing that are NOCOW. */
  readonly wronglyNocow: readonly string[];
  /** Which of the NOCOW places are single files. */
  readonly databaseFiles: readonly string[];
  /** Files that should be NOCOW, and keep copy-on-write because they hold something. */
  readonly full: readonly string[];
  /** What should be NOCOW and cannot be, because compression was chosen for it. */
  readonly compressed: readonly Compressed[];
  /** Something could not be looked at: that nothing is wrong cannot be said then. */
  readonly isPartlyHidden: boolean;
  /** What to say of a disk that has become smaller than its mounted filesystem. */
  readonly smallerDisk: Words | null;
  /** Where the filesystem can be reached now; null where it is not mounted. */
  readonly mountPath: string | null;
  /** Where the whole of it belongs. */
  readonly wholePath: string;
  readonly readOnlyMounts: readonly Pick<Mount, "path" | "options" | "superOptions">[];
  /** Mount options that are not as the volume's own mounts have them. */
  readonly deviations: readonly Deviation[];
}

/** What is wrong and what to do, put into words where it was seen. */
interface Words {
  readonly message: string;
  readonly hint: string;
}

type Find = (facts: HealthFacts) => readonly Problem[];

const warning = (code: Problem["code"], message: string, hint: string): readonly Problem[] => [
  { code, level: "warning", message, hint },
];
const critical = (code: Problem["code"], message: string, hint: string): readonly Problem[] => [
  { code, level: "critical", message, hint },
];

/** A remount makes the filesystem writable and the mount that it names; each other one has to be named, too. */
function writableAgain(mounts: HealthFacts["readOnlyMounts"]): string {
  const whole = mounts.find(({ superOptions }) => superOptions.includes("ro"));
  const single = mounts.filter((mount) => mount !== whole && mount.options.includes("ro"));
  const commands = [
    ...(whole === undefined ? [] : [`mount -o remount,rw ${shellWord(whole.path)}`]),
    ...single.map(({ path }) => `mount -o remount,bind,rw ${shellWord(path)}`),
  ];
  return `to make it writable again: ${commands.join(" && ")}`;
}

const readOnly: Find = ({ status, refusal, readOnlyMounts }) => {
  if (status.forcedReadOnly === true) {
    return critical(
      "forced-read-only",
      "THE KERNEL HAS MADE THE VOLUME READ-ONLY AFTER AN ERROR: nothing is saved any more, though " +
        "programs may not notice",
      "see dmesg for the reason, and mend that; stop the daemons, then: volume down, volume up",
    );
  }
  if (status.readOnly !== true) return [];
  if (refusal?.code === "read-only") {
    return critical("read-only", refusal.message, refusal.hint ?? "volume plan says more");
  }
  const hint = writableAgain(readOnlyMounts);
  return critical("read-only", "the volume is mounted read-only", hint);
};

const smallerDisk: Find = ({ smallerDisk: words }) =>
  words === null ? [] : critical("shrunk", words.message, words.hint);

const deletedImage: Find = ({ deletion }) =>
  deletion == null ? [] : critical("deleted-image", deletion.what, deletion.hint);

const mountOptions: Find = ({ deviations }) =>
  deviations.flatMap(({ of, message, hint }) => warning(`${of}-options`, message, hint));

/** Where the disk ends too early, or its host is full, that is what to say. */
const full: Find = ({
  status: { bytes, readOnly: isReadOnly },
  smallerDisk: smaller,
  hostSpace: host,
}) =>
  bytes.writable === 0 && isReadOnly !== true && smaller === null && (host == null || !isFull(host))
    ? critical(
        "full",
        "the volume is full",
        "remove images or volumes; or make the disk larger, then: volume up",
      )
    : [];

const hostSpace: Find = ({ hostSpace: space }) => {
  if (space == null || !(isFull(space) || isTooSmall(space))) return [];
  const say = isFull(space) ? critical : warning;
  return say("host-space", spaceText(space), spaceHint(space));
};

/** Less than this is no sector of any Btrfs. */
const leastSectorBytes = 4096;

const largerDisk: Find = ({ status: { bytes } }) =>
  bytes.device !== null &&
  bytes.filesystem !== null &&
  bytes.device - bytes.filesystem >= leastSectorBytes
    ? warning(
        "larger-disk",
        "the disk is larger than the filesystem",
        `volume up grows it to ${sizeText(bytes.device)}`,
      )
    : [];

const superblockCopies: Find = ({
  status: { superblocks, verdict },
  mountPath,
  wholePath,
  refusal,
}) => {
  const bad = superblocks.filter(({ state }) => state !== "valid");
  // With any other verdict the superblocks are the problem itself, which is said elsewhere.
  if (bad.length === 0 || (verdict !== "btrfs" && verdict !== "mounted")) return [];
  // A disk that `up` refuses has another problem that must be mended first.
  if (mountPath === null && refusal !== null) return [];
  const which = bad.map(({ offset, state }) => `the one at ${sizeText(offset)} is ${state}`);
  return warning(
    "superblock-copy",
    `not every copy of the superblock is good: ${which.join(", ")}`,
    mountPath === null
      ? `volume up, then: btrfs scrub start -B ${shellWord(wholePath)}`
      : `to write it anew: btrfs scrub start -B ${shellWord(mountPath)}`,
  );
};

const diskErrors: Find = ({ status: { errors }, mountPath, wholePath }) => {
  const counted = Object.entries(errors ?? {}).filter(([, count]) => count > 0);
  if (counted.length === 0) return [];
  const text = counted.map(([kind, count]) => `${count} ${kind}`).join(", ");
  const path = shellWord(mountPath ?? wholePath);
  return warning(
    "disk-errors",
    `the disk has had errors (${text})`,
    `keep a backup; to see in dmesg which files are damaged, and to mend what has a second copy: btrfs scrub start -B ${path}; ` +
      `once that finds none, to count anew: btrfs device stats --reset ${path}`,
  );
};

const readOnlySubvolumes: Find = (facts) =>
  facts.readOnlySubvolumes.flatMap(({ name, hint }) =>
    critical(
      "read-only-subvolume",
      `the subvolume ${name} is read-only: nothing can be saved in it`,
      hint,
    ),
  );

const noCopyOnWrite: Find = ({ status: { subvolumes }, full: files, compressed }) => {
  const others = [...files, ...compressed.map(({ name }) => name)];
  const unset = subvolumes
    .flatMap(({ name, nocow }) =>
      nocow.filter(({ set }) => set === false).map(({ directory }) => `${name}/${directory}`),
    )
    .filter((path) => !others.includes(path));
  if (unset.length === 0) return [];
  return warning("not-nocow", `not NOCOW: ${unset.join(", ")}`, "volume up sets it");
};

const compressedDatabases: Find = ({ compressed }) => {
  if (compressed.length === 0) return [];
  const message = compressedText(compressed.map(({ name }) => name));
  return warning("not-nocow", message, compressedHint(compressed.map(({ path }) => path)));
};

/** What is made there has neither checksums nor compression. */
const wronglyNocow: Find = ({ wronglyNocow: paths }) =>
  paths.length === 0
    ? []
    : warning(
        "wrongly-nocow",
        `NOCOW, though there are no databases in it: ${paths.join(", ")}`,
        "volume up takes the flag off",
      );

/** What a daemon makes at such a name is not NOCOW. */
const missingDatabases: Find = ({ status: { subvolumes }, databaseFiles, isPartlyHidden }) => {
  if (isPartlyHidden) return [];
  const missing = subvolumes.flatMap(({ name, id, nocow }) =>
    nocow
      .filter(({ set }) => set === null && id !== null)
      .map(({ directory }) => `${name}/${directory}`),
  );
  const [files, directories] = [true, false].map((isFile) =>
    missing.filter((path) => databaseFiles.includes(path) === isFile).join(", "),
  );
  const found = (what: string, paths = "") =>
    paths === ""
      ? []
      : warning(
          "not-nocow",
          `no such ${what}: ${paths}`,
          "volume up makes it, if nothing else is in its place",
        );
  return [...found("directory", directories), ...found("file", files)];
};

/** Daemons that run without their mount write to the disk below, and nobody finds it again. */
const notUp: Find = ({ status, refusal, twin, keptBy }) => {
  const { state, verdict, device } = status;
  if (state === "up") return [];
  if (state === "partial") {
    return critical(
      "partial",
      "not everything is mounted",
      "volume up mounts the rest, or says what is in its place",
    );
  }
  if (twin !== null) {
    const message = `${twin} is the same disk, and is mounted`;
    return critical("same-disk", message, `look at that one: --device ${twin}`);
  }
  if (keptBy !== null) {
    const message = `${device} is mounted, but not where it belongs: ${keptBy}`;
    return critical("elsewhere", message, "volume plan says whether it can be mounted there too");
  }
  if (refusal !== null) {
    return critical(refusal.code, refusal.message, refusal.hint ?? "volume plan says more");
  }
  if (verdict === null) return [];
  const { code, message, hint } = atRest[verdict] ?? notMounted;
  return critical(code, `${device} ${message}`, hint);
};

interface AtRest {
  readonly code: Problem["code"];
  /** Behind the name of the device. */
  readonly message: string;
  readonly hint: string;
}

const notMounted: AtRest = {
  code: "down",
  message: "holds the volume, which is not mounted",
  hint: "volume up mounts it",
};

/** What is wrong with a disk that `up` would not refuse. */
const atRest: Partial<Record<NonNullable<Status["verdict"]>, AtRest>> = {
  mounted: {
    code: "down",
    message: "is mounted, but nowhere that the volume belongs",
    hint: "volume up mounts it there",
  },
  blank: { code: "down", message: "is blank", hint: "volume up formats it" },
  interrupted: {
    code: "interrupted",
    message: "holds a format that has begun and is not done",
    hint: "unless one is running now, volume up finishes it",
  },
  damaged: {
    code: "damaged",
    message: "has a damaged superblock",
    hint: "volume up repairs it from its copy",
  },
};

const stranger: Find = ({ stranger: reason }) =>
  reason === null ? [] : critical(reason.code, reason.message, reason.hint ?? "");

/** In the order in which a person should read them: first what loses data now. */
const finders: readonly Find[] = [
  smallerDisk,
  deletedImage,
  readOnly,
  stranger,
  notUp,
  hostSpace,
  full,
  readOnlySubvolumes,
  diskErrors,
  superblockCopies,
  mountOptions,
  largerDisk,
  noCopyOnWrite,
  compressedDatabases,
  wronglyNocow,
  missingDatabases,
];

/** What is wrong with a volume: the one place where that is decided. */
const problemsOf = (facts: HealthFacts): readonly Problem[] =>
  finders.flatMap((find) => find(facts));

/** What `problemsOf` found, and whether all is well: not even where something could not be looked at. */
export function healthOf(facts: HealthFacts): Pick<Status, "healthy" | "problems"> {
  const problems = problemsOf(facts);
  const isKnown = facts.status.state === "up" && facts.status.verdict !== null;
  return { healthy: problems.length === 0 && isKnown && !facts.isPartlyHidden, problems };
}

/** The exit status of a health check, by the convention of monitoring plugins. */
export function checkStatusOf({ healthy, problems }: Pick<Status, "healthy" | "problems">): number {
  if (problems.some(({ level }) => level === "critical")) return 2;
  if (problems.length > 0) return 1;
  return healthy ? 0 : unknownHealth;
}
