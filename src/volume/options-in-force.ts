import type { Mount } from "../linux/mountinfo.ts";
import type { Layout } from "./layout.ts";
import { shellWord } from "./shell-word.ts";
import type { Target } from "./targets.ts";

/** Options that differ from those that the volume is mounted with, and the command that changes them. */
export interface Deviation {
  /** Whether they are those of one mount or of the whole filesystem. */
  readonly of: "mount" | "filesystem";
  readonly message: string;
  readonly hint: string;
}

/** Options of one mount, and what takes each of them away. */
const restrictions = [
  ["noexec", "exec"],
  ["nodev", "dev"],
  ["nosuid", "suid"],
] as const;

/**
 * A mount of somebody else's at one of our places: containers start programs there and have devices in their
 * images. Of the whole filesystem, which is for the agent alone, nothing but access times matters. null
 * where nothing is wrong.
 */
function restrictionsOf({ subvolume, path }: Target, { options }: Mount): Deviation | null {
  const restricted =
    subvolume === "" ? [] : restrictions.filter(([name]) => options.includes(name));
  const hasAccessTimes = !options.includes("noatime");
  if (restricted.length === 0 && !hasAccessTimes) return null;
  const names = restricted.map(([name]) => name);
  const what = [
    ...(names.length === 0 ? [] : [`with ${names.join(", ")}`]),
    ...(hasAccessTimes ? ["without noatime"] : []),
  ];
  const undo = [...restricted.map(([, off]) => off), ...(hasAccessTimes ? ["noatime"] : [])];
  return {
    of: "mount",
    message: `${path} is mounted ${what.join(" and ")}, unlike the volume's own mounts`,
    hint: `to undo it: mount -o remount,bind,${undo.join(",")} ${shellWord(path)}`,
  };
}

/** One thing that filesystem-wide options decide. */
interface Family {
  /** What an option asks for, in the words of the kernel's mount table; null of an option of another family. */
  readonly valueOf: (option: string) => string | null;
  /** What holds where the mount table shows nothing. */
  readonly hidden: string;
  /** What a layout wants that says nothing; null where that is as good as anything. */
  readonly byDefault: string | null;
}

/** `compress=` and `compress-force=`, with the algorithm and the level that the kernel fills in. */
function compression(option: string): string | null {
  const [, name, algorithm = "zlib", level] =
    /^(compress(?:-force)?)(?:=([a-z]+)(?::(-?\d+))?)?$/.exec(option) ?? [];
  if (name === undefined) return null;
  if (algorithm === "no" || algorithm === "none") return noCompression;
  if (algorithm === "lzo") return `${name}=lzo`;
  const most = algorithm === "zstd" ? 15 : 9;
  const asked = Number(level ?? 0);
  return `${name}=${algorithm}:${asked === 0 ? 3 : Math.max(-15, Math.min(asked, most))}`;
}

const noCompression = "compress=no";

function discarding(option: string): string | null {
  if (option === "discard" || option === "discard=sync") return "discard=sync";
  return option === "discard=async" || option === "nodiscard" ? option : null;
}

/** A switch, of which the kernel shows only what is not the default. */
const switched = (usual: string, unusual: string): Family => ({
  valueOf: (option) => (option === usual || option === unusual ? option : null),
  hidden: usual,
  byDefault: usual,
});

/** An option with a number, likewise. */
const numbered = (name: string, usual: number): Family => ({
  valueOf: (option) => (option.startsWith(`${name}=`) ? option : null),
  hidden: `${name}=${usual}`,
  byDefault: `${name}=${usual}`,
});

/** fs/btrfs/super.c: btrfs_fs_parameters[] says what is understood, btrfs_show_options() what is shown. */
const families: readonly Family[] = [
  { valueOf: compression, hidden: noCompression, byDefault: noCompression },
  { valueOf: discarding, hidden: "nodiscard", byDefault: null },
  switched("datacow", "nodatacow"),
  switched("datasum", "nodatasum"),
  switched("barrier", "nobarrier"),
  switched("treelog", "notreelog"),
  switched("acl", "noacl"),
  switched("noautodefrag", "autodefrag"),
  switched("noflushoncommit", "flushoncommit"),
  numbered("commit", 30),
  numbered("max_inline", 2048),
];

/** What an option says of other families: btrfs_parse_param() sets and clears them together. */
function implied(option: string): readonly string[] {
  if (option === "nodatacow") return ["nodatasum", noCompression, option];
  if (option === "datasum") return ["datacow", option];
  const compressed = compression(option);
  const needsSums = compressed !== null && compressed !== noCompression;
  return needsSums ? ["datacow", "datasum", option] : [option];
}

const lastOf = ({ valueOf: read }: Family, options: readonly string[]): string | null =>
  options.map(read).findLast((value) => value !== null) ?? null;

/**
 * Filesystem-wide options that are not those of the layout, because somebody else's mount came first, or the
 * layout has changed since. null where all are; of an option that this table does not know nothing is said.
 */
export function optionsDeviation(
  layout: Pick<Layout, "options">,
  { superOptions, path: mountPath }: Pick<Mount, "superOptions" | "path">,
): Deviation | null {
  const wanted = layout.options.split(",").flatMap(implied);
  const differing = families.flatMap((family) => {
    const asked = lastOf(family, wanted) ?? family.byDefault;
    const found = lastOf(family, superOptions) ?? family.hidden;
    return asked === null || asked === found ? [] : [{ asked, found }];
  });
  if (differing.length === 0) return null;
  const pairs = differing.map(({ asked, found }) => `${found} instead of ${asked}`);
  const options = differing.map(({ asked }) => asked).join(",");
  return {
    of: "filesystem",
    message: `filesystem-wide options are not those of the layout: ${pairs.join(", ")}`,
    hint: `to change them: mount -o remount,${options} ${shellWord(mountPath)}`,
  };
}

/**
 * What deviates at our places, and in the whole filesystem; `mounts` are all of the filesystem, `own` the targets
 * that are among them.
 */
export function deviationsOf(
  layout: Pick<Layout, "options">,
  mounts: readonly Mount[],
  own: readonly Target[],
): readonly Deviation[] {
  const at = new Map(own.map((target) => [target, mountAtTarget(mounts, target)]));
  const [first] = [...at.values()].filter((mount) => mount !== undefined);
  // The options of the filesystem are the same for all of its mounts.
  const any = first ?? mounts[0];
  const inForce = any === undefined ? null : optionsDeviation(layout, any);
  const restricted = [...at].map(([target, mount]) =>
    mount === undefined ? null : restrictionsOf(target, mount),
  );
  return [inForce, ...restricted].filter((deviation) => deviation !== null);
}

/** The uppermost, where somebody has mounted one over the other. */
const mountAtTarget = (mounts: readonly Mount[], { path, subvolume }: Target): Mount | undefined =>
  mounts.findLast((mount) => mount.path === path && mount.root === `/${subvolume}`);
