import { Errno, isErrno } from "../linux/errno.ts";
import { withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { defaultLayout, type Layout } from "./layout.ts";

/** Filesystem-wide options without a value (btrfs(5), fs/btrfs/super.c). */
const flags: ReadonlySet<string> = new Set([
  "acl",
  "noacl",
  "autodefrag",
  "noautodefrag",
  "barrier",
  "nobarrier",
  "clear_cache",
  "compress",
  "compress-force",
  "datacow",
  "nodatacow",
  "datasum",
  "nodatasum",
  "discard",
  "nodiscard",
  "enospc_debug",
  "noenospc_debug",
  "flushoncommit",
  "noflushoncommit",
  "rescan_uuid_tree",
  "skip_balance",
  "space_cache",
  "nospace_cache",
  "ssd",
  "nossd",
  "ssd_spread",
  "nossd_spread",
  "treelog",
  "notreelog",
  "user_subvol_rm_allowed",
]);

/** A level that is too high the kernel takes in silence for its highest. */
const compression = {
  pattern: /^(?:no|none|lzo|zlib(?::[0-9])?|zstd(?::(?:0|-?(?:[1-9]|1[0-5])))?)$/,
  values: "zstd, zstd:-15 to zstd:15, zlib, zlib:1 to zlib:9, lzo or none",
};
const count = { pattern: /^\d{1,9}$/, values: "a number" };

interface Value {
  readonly pattern: RegExp;
  /** What it may be, in words. */
  readonly values: string;
}

/** Options with a value, likewise. */
const valued: ReadonlyMap<string, Value> = new Map([
  ["compress", compression],
  ["compress-force", compression],
  ["discard", { pattern: /^(?:a?sync)$/, values: "sync or async" }],
  ["space_cache", { pattern: /^v[12]$/, values: "v1 or v2" }],
  ["commit", { pattern: count.pattern, values: "a number of seconds" }],
  ["max_inline", { pattern: /^\d{1,9}[KkMmGg]?$/, values: "a number of bytes" }],
  ["metadata_ratio", count],
  ["thread_pool", { pattern: /^[1-9]\d{0,8}$/, values: "a number above zero" }],
  ["fatal_errors", { pattern: /^(?:bug|panic)$/, values: "bug or panic" }],
]);

const split = (option: string): readonly [name: string, value: string | null] => {
  const equals = option.indexOf("=");
  return equals < 0 ? [option, null] : [option.slice(0, equals), option.slice(equals + 1)];
};

/** What is wrong with a mount option that a layout wants; null when Btrfs has it. */
export function optionProblem(option: string): string | null {
  const [name, value] = split(option);
  const allowed = valued.get(name);
  if (value === null) {
    if (flags.has(name)) return null;
    return allowed === undefined
      ? `${name} is no mount option of Btrfs`
      : `${name} needs a value: ${allowed.values}`;
  }
  if (allowed !== undefined) {
    return allowed.pattern.test(value) ? null : `${option} must be ${allowed.values}`;
  }
  return flags.has(name) ? `${name} takes no value` : `${name} is no mount option of Btrfs`;
}

/**
 * What two of the options say against each other; null where nothing is. The kernel takes them, and the last one
 * wins without a word.
 */
export function optionsConflict(options: readonly string[]): string | null {
  const compressed = options.find((option) => {
    const [name, value] = split(option);
    return (name === "compress" || name === "compress-force") && !/^(?:no|none)$/.test(value ?? "");
  });
  if (compressed === undefined || !options.includes("nodatacow")) return null;
  return `${compressed} and nodatacow exclude each other, for what is NOCOW is never compressed: leave out one of them`;
}

const optionsOf = ({ options }: Layout): readonly string[] =>
  options.split(",").filter((option) => option !== "");

/**
 * The first option of the layout that this kernel does not take; null when it takes them all, or cannot be
 * asked (before Linux 6.8 it looks at them only when it mounts). It parses them without a device.
 */
export function refusedOption(kernel: Kernel, layout: Layout): string | null {
  let context: number;
  try {
    context = kernel.fsopen("btrfs");
  } catch (error) {
    const { ENOSYS, EPERM, EACCES, ENODEV, ENOMEM, EMFILE, ENFILE } = Errno;
    if (isErrno(error, ENOSYS, EPERM, EACCES, ENODEV, ENOMEM, EMFILE, ENFILE)) return null;
    throw error;
  }
  return withFd(kernel, context, () => {
    const isRefused = (option: string): boolean => {
      try {
        kernel.fsconfig(context, ...split(option));
        return false;
      } catch (error) {
        if (isErrno(error, Errno.EINVAL, Errno.EOPNOTSUPP)) return true;
        if (isErrno(error, Errno.ENOMEM, Errno.ENOSYS)) return false;
        throw error;
      }
    };
    return optionsOf(layout).find(isRefused) ?? null;
  });
}

/** The error for an option of the layout that cannot be used. */
export const wrongOption = (problem: string): VolumeError =>
  new VolumeError("layout", `the mount options of the layout: ${problem}`, {
    hint: "see docs/layouts.md, and btrfs(5) for the options",
  });

/** A disk is not formatted for options with which it could not be mounted. Throws `layout`. */
export function assertMountOptions(kernel: Kernel, layout: Layout): void {
  if (layout.options === defaultLayout.options) return;
  for (const option of optionsOf(layout)) {
    const problem = optionProblem(option);
    if (problem !== null) throw wrongOption(problem);
  }
  const conflict = optionsConflict(optionsOf(layout));
  if (conflict !== null) throw wrongOption(conflict);
  const refused = refusedOption(kernel, layout);
  if (refused !== null) throw wrongOption(`this kernel does not take ${refused}`);
}
