import { readBytes } from "./files.ts";
import type { Kernel } from "./kernel.ts";
import { fromUtf8, utf8 } from "./text.ts";

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), escapes resolved. */
export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** "major:minor" of the filesystem's superblock: all mounts of one Btrfs share it. */
  readonly device: string;
  /** What of the filesystem is mounted: "/" or "/@docker". */
  readonly root: string;
  readonly path: string;
  /** Options of this mount alone. */
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Options of the whole filesystem, as the kernel applies them. */
  readonly superOptions: readonly string[];
}

/** Nothing can be written through this mount: by its own options, or by those of its filesystem. */
export const isReadOnly = ({ options, superOptions }: Mount): boolean =>
  options.includes("ro") || superOptions.includes("ro");

/** The kernel made the filesystem read-only after an error: who remounts it so by hand does it to a mount too. */
export const isForcedReadOnly = ({ options, superOptions }: Mount): boolean =>
  superOptions.includes("ro") && !options.includes("ro");

const backslash = 0x5c;

/** "\\040" and its kin, three octal digits a byte (fs/seq_file.c, mangle_path). */
export function withoutEscapes(field: string): string {
  const escaped = utf8(field);
  const bytes: number[] = [];
  for (let i = 0; i < escaped.length; i++) {
    const byte = escaped[i] ?? 0;
    const digits = fromUtf8(escaped.subarray(i + 1, i + 4));
    if (byte === backslash && /^[0-3][0-7]{2}$/.test(digits)) {
      bytes.push(Number.parseInt(digits, 8));
      i += 3;
    } else {
      bytes.push(byte);
    }
  }
  return fromUtf8(Uint8Array.from(bytes));
}

const isNumber = (field: string | undefined): field is string =>
  field !== undefined && field !== "" && Number.isInteger(Number(field));

/** Parses one line. Throws a SyntaxError when it is not of its form. */
function parseLine(line: string): Mount {
  const escaped = line.split(" ");
  const fields = line.includes("\\") ? escaped.map(withoutEscapes) : escaped;
  const [id, parentId, device, root, path, options] = fields;
  // Between the options and "-" stand any number of tags such as "shared:1".
  const dash = fields.indexOf("-", 6);
  const [type, source, superOptions] = fields.slice(dash + 1);
  if (
    dash < 0 ||
    !isNumber(id) ||
    !isNumber(parentId) ||
    device === undefined ||
    root === undefined ||
    path === undefined ||
    options === undefined ||
    type === undefined
  ) {
    throw new SyntaxError(`a line of mountinfo is not understood: ${line}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root,
    path,
    options: options.split(","),
    type,
    source: source ?? "",
    superOptions: (superOptions ?? "").split(","),
  };
}

/** A mount table, of which a line is parsed when somebody asks for it. A malformed one throws then. */
export class MountTable {
  /** Lines between newlines, the first and the last too. */
  readonly #text: string;

  /** `bytes` is the content of a mountinfo file. */
  constructor(bytes: Uint8Array) {
    this.#text = `\n${fromUtf8(bytes)}`;
  }

  byId(id: number): Mount | undefined {
    const start = this.#text.indexOf(`\n${id} `) + 1;
    if (start === 0) return undefined;
    const end = this.#text.indexOf("\n", start);
    return parseLine(this.#text.slice(start, end < 0 ? undefined : end));
  }

  all(): readonly Mount[] {
    const [, ...lines] = this.#text.split("\n");
    // The last line ends in a newline too.
    if (lines.at(-1) === "") lines.pop();
    return lines.map(parseLine);
  }
}

/** The mount table of a process, by default our own. */
export const readMountTable = (kernel: Kernel, pid: number | "self" = "self"): MountTable =>
  new MountTable(readBytes(kernel, `/proc/${pid}/mountinfo`));

export const readMounts = (kernel: Kernel, pid?: number | "self"): readonly Mount[] =>
  readMountTable(kernel, pid).all();
