import arg from "arg";
import { SystemError } from "../linux/errno.ts";
import { workingDirectory } from "../linux/inherited.ts";
import { VolumeError } from "../volume/error.ts";
import { formatPolicies, repairPolicies, type VolumeOptions } from "../volume/options.ts";
import { parseSelector } from "../volume/selector.ts";

export const actions = ["up", "plan", "status", "down"] as const;
export type Action = (typeof actions)[number];

/** One option of the command line: the source of parsing, help and completion. */
export interface OptionSpec {
  readonly name: `--${string}`;
  /** What stands for the value in the help; without it the option is a switch. */
  readonly value?: string;
  readonly help: string;
  /** What completes the value. */
  readonly completes?: "file" | "directory" | "device" | readonly string[];
  /** Options that cannot be given beside it. */
  readonly rivals?: readonly string[];
  readonly actions: readonly Action[];
}

const available: readonly Action[] = ["up", "plan", "status", "down"];
const bringing: readonly Action[] = ["up", "plan"];

/** What each command is for, in a line. */
export const summaries: Record<Action, string> = {
  up: "find, format if blank, grow and mount the data volume",
  plan: "say what `up` would do; changes nothing",
  status: "show the state of the data volume",
  down: "unmount the data volume and prove that it is gone",
};

export const optionSpecs: readonly OptionSpec[] = [
  {
    name: "--device",
    value: "DISK",
    help: "the disk: a path, serial=ID, uuid=UUID or label=NAME (also UUID= and LABEL=, as in fstab; default: arcbox.docker_data_device= on the kernel command line, /dev/arcboxhvc1, /dev/vdb)",
    completes: "device",
    rivals: ["--image", "--size"],
    actions: available,
  },
  {
    name: "--image",
    value: "FILE",
    help: "use a sparse file as the disk, through a loop device; made if missing",
    completes: "file",
    rivals: ["--device"],
    actions: available,
  },
  {
    name: "--size",
    value: "SIZE",
    help: "size of the image, with K, M, G or T (default for a new one: 64G); `up` grows one that is smaller",
    rivals: ["--device"],
    actions: available,
  },
  {
    name: "--root",
    value: "DIR",
    help: "mount everything below DIR instead of /",
    completes: "directory",
    actions: available,
  },
  {
    name: "--layout",
    value: "FILE",
    help: "own subvolumes and mount points, as JSON; see arcbox-agent layout",
    completes: "file",
    actions: available,
  },
  {
    name: "--wait",
    value: "SECONDS",
    help: "how long `up` and `plan` wait for the disk to appear (default 5)",
    actions: available,
  },
  {
    name: "--format",
    value: "POLICY",
    help: "blank: format a blank disk (default); any: also one with something else on it, which is lost; never",
    completes: formatPolicies,
    actions: bringing,
  },
  {
    name: "--repair",
    value: "POLICY",
    help: "auto: mend a damaged superblock from its copy (default); always: also after a wipe; never",
    completes: repairPolicies,
    actions: bringing,
  },
  {
    name: "--cover",
    help: "mount over directories that are not empty, which hides what is in them",
    actions: bringing,
  },
  {
    name: "--discard-deleted",
    help: "let go of an image whose file was deleted: its loop device has the only copy",
    actions: ["down"],
  },
  {
    name: "--check",
    help: "exit 0 if it is healthy, 1 for a warning, 2 for a critical problem, 3 if that cannot be told",
    actions: ["status"],
  },
  { name: "--json", help: "print one JSON document", actions: available },
];

export interface Command {
  readonly action: Action;
  readonly json: boolean;
  /** The exit status tells the health, not only whether `status` could answer. */
  readonly check: boolean;
  readonly options: VolumeOptions;
  /** The file of --layout, still to be read. */
  readonly layoutPath: string | undefined;
}

const usage = (message: string, hint?: string): VolumeError =>
  new VolumeError("usage", message, { hint });

const powers = new Map([
  ["", 0],
  ["K", 1],
  ["M", 2],
  ["G", 3],
  ["T", 4],
]);

/** "64G" in bytes. Throws a usage error for anything that is not a positive size. */
export function parseSize(text: string): number {
  const [, digits, unit] = /^(\d{1,15})([KMGT]?)$/i.exec(text) ?? [];
  const bytes = Number(digits) * 1024 ** (powers.get(unit?.toUpperCase() ?? "") ?? 0);
  if (digits === undefined || bytes === 0) {
    throw usage(`--size ${shown(text)} is not a size`, "write it like 64G, with K, M, G or T");
  }
  // The largest file of Linux is 8 EiB; numbers are exact to 8 PiB, and no disk image is larger.
  if (bytes > Number.MAX_SAFE_INTEGER) {
    throw usage(`--size ${shown(text)} is too large`, "an image may have 8191T");
  }
  return bytes;
}

const longestWaitSeconds = 86_400;

/** "2.5" in milliseconds. */
export function parseWait(text: string): number {
  const seconds = /^\d+(\.\d+)?$|^\.\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= longestWaitSeconds)) {
    throw usage(`--wait ${shown(text)} is not a number of seconds`, "write it like 5 or 0.5");
  }
  return seconds * 1000;
}

/** In quotes; a byte that is no UTF-8 (linux/text.ts) as in all that is printed. */
const shown = (text: string): string =>
  JSON.stringify(text).replace(/\\udc([89a-f][0-9a-f])/g, "\\x$1");

function oneOf<T extends string>(name: string, values: readonly T[], text: string): T {
  const value = values.find((candidate) => candidate === text);
  if (value !== undefined) return value;
  throw usage(`${name} ${shown(text)} is not known`, `use one of: ${values.join(", ")}`);
}

/** A path as it was typed, of which every byte arrived. */
function wholePath(name: string, path: string): string {
  if (path === "") throw usage(`${name} is empty`);
  if (path.includes("\0")) throw usage(`${name} contains a NUL character`);
  return path.replace(/(?<=.)\/+$/s, "");
}

function folderFor(name: string): string {
  try {
    return workingDirectory();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw usage(
      `${name} is relative to a working directory that is not there: ${error.message}`,
      "give the whole path, from / on",
    );
  }
}

/** Absolute, so that it means the same wherever it is used and shows in a report as what it is. */
function absolute(name: string, path: string): string {
  const given = wholePath(name, path);
  if (given.startsWith("/")) return given;
  const folder = folderFor(name);
  return `${folder === "/" ? "" : folder}/${given}`;
}

/** The values that were given, by option name. Throws `usage` for anything that is not an option. */
function given(specs: readonly OptionSpec[], argv: readonly string[], help: string): Given {
  const schema: Record<string, typeof String | typeof Boolean> = {};
  for (const { name, value } of specs) schema[name] = value === undefined ? Boolean : String;
  const written = explicit(specs, argv, help);
  let values: Record<string, unknown>;
  try {
    values = arg(schema, { argv: [...argv] });
  } catch (error) {
    refuseNegative(argv);
    throw usage(error instanceof Error ? error.message : String(error), help);
  }
  const [extra] = Array.isArray(values._) ? values._ : [];
  if (extra !== undefined) throw usage(`unexpected argument ${shown(String(extra))}`, help);
  return {
    has: (name) => values[name] === true,
    map: (name, parse) => {
      const value = written.get(name) ?? values[name];
      return typeof value === "string" ? parse(value) : undefined;
    },
  };
}

/** `arg` takes a number below zero for an unknown option. Throws what is wrong with it as a value. */
function refuseNegative(argv: readonly string[]): void {
  for (const [i, word] of argv.entries()) {
    const value = argv[i + 1] ?? "";
    if (!/^-\.?\d/.test(value)) continue;
    if (word === "--wait") parseWait(value);
    if (word === "--size") parseSize(value);
  }
}

/**
 * Values behind "=": `arg` would cut them at a line break, and take `--switch=false` for the switch.
 * When an option is given twice, the last one counts, as in most programs.
 */
function explicit(
  specs: readonly OptionSpec[],
  argv: readonly string[],
  help: string,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const word of argv) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const spec = name.startsWith("--") ? specs.find((known) => known.name === name) : undefined;
    if (spec === undefined) continue;
    if (equals < 0) values.delete(name);
    else if (spec.value === undefined) throw usage(`${name} takes no value`, help);
    else values.set(name, word.slice(equals + 1));
  }
  return values;
}

interface Given {
  /** A switch. */
  readonly has: (name: string) => boolean;
  /** The parsed value of an option; undefined when it was not given. */
  readonly map: <T>(name: string, parse: (value: string) => T) => T | undefined;
}

/** The file that `layout --layout FILE` names. Throws a VolumeError `usage`. */
export function parseLayoutCommand(argv: readonly string[]): string | undefined {
  const specs = optionSpecs.filter(({ name }) => name === "--layout" || name === "--json");
  const { map } = given(specs, argv, "see: arcbox-agent layout --help");
  return map("--layout", (value) => absolute("--layout", value));
}

/** Parses what stands behind `volume ACTION`. Throws a VolumeError `usage`. */
export function parseVolume(action: Action, argv: readonly string[]): Command {
  const specs = optionSpecs.filter((spec) => spec.actions.includes(action));
  const { has, map } = given(specs, argv, `see: arcbox-agent volume ${action} --help`);
  const text = (name: string): string | undefined => map(name, (value) => value);
  if (text("--device") !== undefined && text("--image") !== undefined) {
    throw usage("--device and --image are both given", "a volume has one disk: give one of them");
  }
  if (text("--size") !== undefined && text("--image") === undefined) {
    throw usage("--size goes with --image", "a disk has the size it has");
  }
  const options = {
    device: map("--device", (value) =>
      parseSelector(value) === null ? wholePath("--device", value) : value,
    ),
    image: map("--image", (value) => absolute("--image", value)),
    sizeBytes: map("--size", parseSize),
    root: map("--root", (value) => absolute("--root", value)),
    waitMs: map("--wait", parseWait),
    format: map("--format", (value) => oneOf("--format", formatPolicies, value)),
    repair: map("--repair", (value) => oneOf("--repair", repairPolicies, value)),
    cover: has("--cover"),
    ...(has("--discard-deleted") ? { discardDeleted: true } : {}),
  };
  return {
    action,
    json: has("--json"),
    check: has("--check"),
    options,
    layoutPath: map("--layout", (value) => absolute("--layout", value)),
  };
}
