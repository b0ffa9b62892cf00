import * as v from "valibot";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { readExactly, statFd, withFd } from "../linux/files.ts";
import { isRegularFile, type Kernel, O_NONBLOCK, O_RDONLY } from "../linux/kernel.ts";
import { fromUtf8, utf8 } from "../linux/text.ts";
import { answers } from "./answering.ts";
import { VolumeError } from "./error.ts";
import { defaultNodeBytes, type Layout } from "./layout.ts";
import { optionProblem, optionsConflict } from "./mount-options.ts";
import { openWithoutLinks } from "./planted-links.ts";
import { withoutProcOrSys } from "./proc-and-sys.ts";

/** A table of a hundred subvolumes has 20 KiB. */
const fileLimitBytes = 1024 * 1024;
const subvolumeLimit = 128;
const directoryLimit = 1024;

const nameLimitBytes = 255;
const bytesOf = (text: string): number => utf8(text).length;

/** Each name on a path must be one that a filesystem takes (NAME_MAX of linux/limits.h). */
const hasFittingNames = (path: string): boolean =>
  path.split("/").every((name) => bytesOf(name) <= nameLimitBytes);
const pathChecks = [
  v.check((path: string) => path.isWellFormed(), "is not UTF-8"),
  v.check(hasFittingNames, `has a name that is longer than ${nameLimitBytes} bytes`),
] as const;

/** Absolute, without "//", "/./", "/../" or a slash at the end; never "/" itself. */
const absolutePath = v.pipe(
  v.string(),
  v.maxLength(4000),
  v.regex(
    /^(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/,
    "must be an absolute path without . and .. and without a slash at its end",
  ),
  ...pathChecks,
);
const relativePath = v.pipe(
  v.string(),
  v.maxLength(4000),
  v.regex(
    /^(?!\.{1,2}(?:\/|$))[^/\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)*$/,
    "must be a path inside the subvolume without . and .. and without a slash at its ends",
  ),
  ...pathChecks,
);

const unknownPlace = 'must be the path of a directory, or { "file": PATH }';

/** A comma would end the mount option that names the subvolume. */
const subvolumeName = v.pipe(
  v.string(),
  v.regex(
    /^(?!\.{1,2}$)[^/,\p{Cc}]+$/u,
    "must not be empty, . or .., or contain / , or control characters",
  ),
  v.check((name) => name.isWellFormed(), "is not UTF-8"),
  v.check((name) => bytesOf(name) <= nameLimitBytes, `is longer than ${nameLimitBytes} bytes`),
);

/** What each mount has for itself, what the program decides, and what makes no data volume. */
const forbiddenOptions =
  "ro|rw|noatime|atime|relatime|norelatime|strictatime|lazyatime|nodiratime|subvol|subvolid|device|degraded|rescue|norecovery|nologreplay|usebackuproot";

const mountOption = v.pipe(
  v.string(),
  v.regex(
    new RegExp(`^(?!(?:${forbiddenOptions})(?:=|$))[a-z0-9_-]+(?:=[A-Za-z0-9:._-]+)?$`),
    "is not a filesystem-wide mount option of Btrfs that may be set here",
  ),
  v.check(
    (option) => optionProblem(option) === null,
    ({ input }) => optionProblem(input) ?? "",
  ),
);

const powerOfTwo = (least: number, most: number): v.GenericSchema<number> =>
  v.picklist(
    Array.from({ length: Math.log2(most / least) + 1 }, (_, i) => least * 2 ** i),
    `must be a power of two from ${least} to ${most}`,
  );

/** The file of `--layout`. Keys that are not known are errors: a typing mistake must not pass. */
export const layoutFileSchema = v.strictObject({
  $schema: v.optional(v.string()),
  label: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[^\n\0]*$/, "must be one line"),
      v.check(
        (label) => bytesOf(label) <= nameLimitBytes,
        `is longer than ${nameLimitBytes} bytes`,
      ),
    ),
    "arcbox-data",
  ),
  rawPath: v.optional(absolutePath, "/run/arcbox/data"),
  options: v.optional(
    v.pipe(
      v.array(mountOption),
      v.check(
        (options) => optionsConflict(options) === null,
        ({ input }) => optionsConflict(input) ?? "",
      ),
    ),
    ["compress=zstd:1", "discard=async"],
  ),
  mkfs: v.optional(
    v.strictObject({
      nodesize: v.optional(powerOfTwo(4096, 65536), defaultNodeBytes),
      metadata: v.optional(v.picklist(["dup", "single"])),
      data: v.optional(v.picklist(["dup", "single"])),
      checksum: v.optional(v.picklist(["crc32c", "xxhash", "sha256", "blake2"])),
    }),
    {},
  ),
  subvolumes: v.pipe(
    v.array(
      v.strictObject({
        name: subvolumeName,
        path: absolutePath,
        nocow: v.optional(
          v.pipe(
            v.array(v.union([relativePath, v.strictObject({ file: relativePath })], unknownPlace)),
            v.maxLength(directoryLimit),
          ),
          [],
        ),
        cow: v.optional(v.pipe(v.array(relativePath), v.maxLength(directoryLimit)), []),
      }),
    ),
    v.minLength(1, "names no subvolume"),
    v.maxLength(subvolumeLimit),
  ),
});

type LayoutFile = v.InferOutput<typeof layoutFileSchema>;

const wrong = (path: string, what: string, cause?: unknown): VolumeError =>
  new VolumeError("layout", `the layout ${path}: ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "see docs/layouts.md; `arcbox-agent layout` prints the built-in one to start from",
  });

/** Two mounts in one place, or one inside the other, would hide each other. */
function clash({ rawPath, subvolumes }: LayoutFile): string | null {
  const places = [
    { where: "rawPath", path: rawPath },
    ...subvolumes.map(({ path }, i) => ({ where: `subvolumes.${i}.path`, path })),
  ];
  for (const [i, one] of places.entries()) {
    for (const other of places.slice(0, i)) {
      if (one.path === other.path) return `${one.where}: ${one.path} is used twice`;
      const [outer, inner] = one.path.length < other.path.length ? [one, other] : [other, one];
      if (inner.path.startsWith(`${outer.path}/`)) {
        return `${one.where}: ${inner.path} is inside ${outer.path}`;
      }
    }
  }
  const names = subvolumes.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  return twice < 0 ? null : `subvolumes.${twice}.name: ${names[twice]} is used twice`;
}

type SubvolumeOfFile = LayoutFile["subvolumes"][number];

const directoriesOf = ({ nocow }: Pick<SubvolumeOfFile, "nocow">): string[] =>
  nocow.filter((place) => typeof place === "string");
const filesOf = ({ nocow }: Pick<SubvolumeOfFile, "nocow">): string[] =>
  nocow.flatMap((place) => (typeof place === "string" ? [] : [place.file]));

/** What is said twice and differently of one path in a subvolume. */
function contradiction(subvolume: SubvolumeOfFile): string | null {
  const directories = directoriesOf(subvolume);
  const files = filesOf(subvolume);
  const both = subvolume.cow.find((path) => directories.includes(path));
  if (both !== undefined) return `${both} is in nocow and in cow`;
  const all = [...directories, ...subvolume.cow];
  for (const file of files) {
    if (all.includes(file)) return `${file} is a file and a directory`;
    const inside = [...all, ...files].find((path) => path.startsWith(`${file}/`));
    if (inside !== undefined) return `${inside} is inside ${file}, which is a file`;
  }
  return null;
}

/** Checks the text of a layout file. Throws `layout`, naming the place in the file. */
export function parseLayout(text: string, path: string): Layout {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    if (error instanceof RangeError) throw wrong(path, "is nested too deeply", error);
    // Too little memory says nothing of the file.
    if (!(error instanceof SyntaxError)) throw error;
    throw wrong(path, `is not JSON: ${error.message}`, error);
  }
  if (Array.isArray(data)) throw wrong(path, "the file: must be an object, not a list");
  const result = v.safeParse(layoutFileSchema, data, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw wrong(path, `${v.getDotPath(issue) ?? "the file"}: ${issue.message}`);
  }
  const file = result.output;
  const problem = clash(file);
  if (problem !== null) throw wrong(path, problem);
  for (const [i, subvolume] of file.subvolumes.entries()) {
    const what = contradiction(subvolume);
    if (what !== null) throw wrong(path, `subvolumes.${i}.nocow: ${what}`);
  }
  return {
    label: file.label,
    rawPath: file.rawPath,
    options: file.options.join(","),
    mkfs: file.mkfs,
    entries: file.subvolumes.map((entry) => ({
      subvolume: entry.name,
      path: entry.path,
      noCopyOnWrite: directoriesOf(entry),
      noCopyOnWriteFiles: filesOf(entry),
      copyOnWrite: entry.cow,
    })),
  };
}

function answersInTime(kernel: Kernel, path: string): boolean {
  try {
    return answers(kernel, path);
  } catch (error) {
    throw withoutProcOrSys(kernel, error) ?? error;
  }
}

/** Reads and checks the file of `--layout`. Throws `layout`, or `unsupported` where there is no /proc. */
export function readLayout(kernel: Kernel, path: string): Layout {
  if (!answersInTime(kernel, path))
    throw wrong(path, "does not answer: a daemon, a server or a disk is asked there");
  let bytes: Uint8Array;
  try {
    bytes = withFd(
      kernel,
      openWithoutLinks(kernel, "--layout", path, O_RDONLY | O_NONBLOCK),
      (fd) => {
        const status = statFd(kernel, fd);
        if (!isRegularFile(status)) throw wrong(path, "is not a regular file");
        if (status.sizeBytes > fileLimitBytes) throw wrong(path, "is larger than 1 MiB");
        const content = new Uint8Array(new ArrayBuffer(status.sizeBytes));
        if (!readExactly(kernel, fd, content, 0)) throw wrong(path, "changed while it was read");
        return content;
      },
    );
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const { message } = error;
    const what = isErrno(error, Errno.ENOENT) ? "does not exist" : `cannot be read: ${message}`;
    throw wrong(path, what, error);
  }
  const text = fromUtf8(bytes);
  if (!text.isWellFormed()) throw wrong(path, "is not UTF-8");
  return parseLayout(text, path);
}

/** A layout as the file that would give it. */
export function layoutFileOf(layout: Layout): v.InferInput<typeof layoutFileSchema> {
  return {
    label: layout.label,
    rawPath: layout.rawPath,
    options: layout.options.split(",").filter((option) => option !== ""),
    mkfs: layout.mkfs,
    subvolumes: layout.entries.map((entry) => ({
      name: entry.subvolume,
      path: entry.path,
      nocow: [...entry.noCopyOnWrite, ...entry.noCopyOnWriteFiles.map((file) => ({ file }))],
      cow: [...entry.copyOnWrite],
    })),
  };
}
