import { unescaped } from "./escapes.ts";
import type { Kernel } from "./kernel.ts";
import { O_RDONLY } from "./kernel.ts";
import { fromUtf8 } from "./text.ts";

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
  /** The number of the peer group that it shares mounts and unmounts with; null for none. */
  readonly peerGroup: number | null;
  /** The number of the peer group that it takes mounts and unmounts from; null for none. */
  readonly master: number | null;
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

const newline = 0x0a;

/** Digits alone, as a number; NaN for anything else. */
const numberIn = (field: string): number => (/^\d+$/.test(field) ? Number(field) : Number.NaN);

/** What is between the commas; split before it is decoded, because an escaped comma is part of a name. */
const list = (field: string): string[] => {
  const items = field.split(",");
  return field.includes("\\") ? items.map(unescaped) : items;
};

/** How many fields stand before the tags, and which. */
const at = { id: 0, parentId: 1, device: 2, root: 3, path: 4, options: 5, tags: 6 } as const;

/**
 * A line of a mount table, of which a field is decoded when it is asked for: a table may be of tens of MiB,
 * and few of its lines matter. Every getter throws a SyntaxError where the line is not of its form.
 */
export class MountLine {
  #fields: readonly string[] = [];
  /** Index of the field "-", which ends the tags. */
  #dash = 0;
  #isWhole = false;

  /** From here on it is this line. */
  moveTo(line: string): this {
    this.#fields = line.split(" ");
    this.#dash = this.#fields.indexOf("-", at.tags);
    this.#isWhole = this.#dash > 0 && this.#fields.length > this.#dash + 2;
    return this;
  }

  #field(index: number): string {
    return this.#isWhole ? (this.#fields[index] ?? "") : this.#fail();
  }

  #number(index: number): number {
    const number = numberIn(this.#field(index));
    return Number.isNaN(number) ? this.#fail() : number;
  }

  #fail(): never {
    throw new SyntaxError(`a line of mountinfo is not understood: ${this.#fields.join(" ")}`);
  }

  get id(): number {
    return this.#number(at.id);
  }

  get parentId(): number {
    return this.#number(at.parentId);
  }

  get device(): string {
    return this.#field(at.device);
  }

  get path(): string {
    return unescaped(this.#field(at.path));
  }

  get type(): string {
    return unescaped(this.#field(this.#dash + 1));
  }

  /** The number behind a tag such as "shared:"; null when it is not there. */
  #tag(name: string): number | null {
    for (let i: number = at.tags; i < this.#dash; i++) {
      const field = this.#fields[i] ?? "";
      if (field.startsWith(name)) return Number(field.slice(name.length));
    }
    return null;
  }

  /** All of it, to keep. */
  get mount(): Mount {
    return {
      id: this.id,
      parentId: this.parentId,
      device: this.device,
      root: unescaped(this.#field(at.root)),
      path: this.path,
      options: list(this.#field(at.options)),
      peerGroup: this.#tag("shared:"),
      master: this.#tag("master:"),
      type: this.type,
      source: unescaped(this.#field(this.#dash + 2)),
      superOptions: list(this.#field(this.#dash + 3)),
    };
  }
}

/** A table that comes in pieces: `read` fills a buffer, and gives 0 at the end. */
export interface TableFile {
  readonly read: (buffer: Uint8Array) => number;
  readonly close: () => void;
}

/** The lines of a table. A line is good until the next one is asked for. */
export function* linesIn({ read, close }: TableFile): Generator<MountLine, void, undefined> {
  const line = new MountLine();
  let buffer = new Uint8Array(pieceBytes);
  let filled = 0;
  try {
    for (;;) {
      if (filled === buffer.length) buffer = larger(buffer);
      const count = read(buffer.subarray(filled));
      filled += count;
      // The kernel ends every line with a newline.
      const end = count === 0 ? filled : buffer.subarray(0, filled).lastIndexOf(newline) + 1;
      // All lines of a piece are decoded at once: a table may be of tens of MiB.
      const lines = fromUtf8(buffer.subarray(0, end)).split("\n");
      if (lines.at(-1) === "") lines.pop();
      for (const text of lines) yield line.moveTo(text);
      if (count === 0) return;
      buffer.copyWithin(0, end, filled);
      filled -= end;
    }
  } finally {
    close();
  }
}

/** Most tables are smaller than this. */
const pieceBytes = 16 * 1024;

/** Two paths of 4,096 bytes that are all escaped, and the options of a filesystem, which fit a page or two. */
const longestLineBytes = 1024 * 1024;

function larger(buffer: Uint8Array): Uint8Array<ArrayBuffer> {
  if (buffer.length >= longestLineBytes) throw new RangeError("a line of mountinfo is too long");
  const next = new Uint8Array(new ArrayBuffer(buffer.length * 4));
  next.set(buffer);
  return next;
}

/**
 * The lines of a mount table, read piece by piece; by default of our own. `folder` is /proc/PID or
 * /proc/PID/task/TID.
 */
export function mountLines(
  kernel: Kernel,
  folder = "/proc/self",
): Generator<MountLine, void, undefined> {
  const fd = kernel.open(`${folder}/mountinfo`, O_RDONLY);
  return linesIn({ read: (buffer) => kernel.read(fd, buffer), close: () => kernel.close(fd) });
}

/** The mounts of our own namespace whose line is wanted. */
export function readMounts(kernel: Kernel, isWanted: (line: MountLine) => boolean): Mount[] {
  const mounts: Mount[] = [];
  for (const line of mountLines(kernel)) if (isWanted(line)) mounts.push(line.mount);
  return mounts;
}

/** The lines of our own table that were wanted when it was read. */
export class MountTable {
  readonly #kernel: Kernel;
  readonly #mounts: readonly Mount[];
  readonly #later = new Map<number, Mount>();

  constructor(kernel: Kernel, isWanted: (line: MountLine) => boolean) {
    this.#kernel = kernel;
    this.#mounts = readMounts(kernel, isWanted);
  }

  all(): readonly Mount[] {
    return this.#mounts;
  }

  /** One that was not wanted is looked up in the table of now. */
  byId(id: number): Mount | undefined {
    const known = this.#mounts.find((mount) => mount.id === id) ?? this.#later.get(id);
    if (known !== undefined) return known;
    const [found] = readMounts(this.#kernel, (line) => line.id === id);
    if (found !== undefined) this.#later.set(id, found);
    return found;
  }
}

/** "/", "/var" and "/var/lib" of "/var/lib". */
export function waysTo(path: string): readonly string[] {
  const ways = ["/"];
  for (let end = path.indexOf("/", 1); end > 0; end = path.indexOf("/", end + 1)) {
    ways.push(path.slice(0, end));
  }
  return path === "/" ? ways : [...ways, path];
}

/**
 * The mount in which an absolute path without links ends, from the table alone: nothing is walked into.
 * `mounts` are at least those at the path and at the directories above it.
 */
export function mountOver(mounts: readonly Mount[], path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const way of waysTo(path)) {
    for (;;) {
      // One may be mounted on another, and what is below it is hidden.
      const next = mounts.find(
        (mount) => mount.path === way && isIn(mounts, mount, found) && mount !== found,
      );
      if (next === undefined) break;
      found = next;
    }
  }
  return found;
}

/** The first on the way hangs on none that is on it too: in a chroot, what is outside is not in the table. */
const isIn = (mounts: readonly Mount[], mount: Mount, parent: Mount | undefined): boolean =>
  parent === undefined
    ? !mounts.some((other) => other.id === mount.parentId && other !== mount)
    : mount.parentId === parent.id;
