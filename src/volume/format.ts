import { copyOffsets, superblockBytes } from "../btrfs/superblock.ts";
import { statOrNull } from "../linux/files.ts";
import type { Kernel, ProgramResult } from "../linux/kernel.ts";
import type { Disk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { clearIntent, encodeIntent, intentBytes, intentOffset } from "./intent.ts";
import type { MkfsOptions } from "./layout.ts";
import { writeDurably } from "./write.ts";

const systemFolders = [
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  "/usr/local/bin",
  "/usr/bin",
  "/bin",
];

/** The path of mkfs.btrfs: from the PATH, or where systems keep it when the PATH leaves that out. */
export function findMkfs(kernel: Kernel): string {
  const folders = (process.env.PATH ?? "").split(":").filter((folder) => folder.startsWith("/"));
  for (const folder of [...folders, ...systemFolders]) {
    const path = `${folder}/mkfs.btrfs`;
    const status = statOrNull(kernel, path);
    if (status !== null && (status.mode & 0o111) !== 0) return path;
  }
  throw new VolumeError("mkfs-missing", "there is no mkfs.btrfs on this system to format with", {
    hint: "install it: apt-get install btrfs-progs",
  });
}

interface FormatRequest {
  readonly path: string;
  readonly disk: Disk;
  readonly mkfs: string;
  readonly label: string;
  readonly options: MkfsOptions;
  /** The disk is not blank: what is there goes. */
  readonly overwrite: boolean;
  /** Descriptor that holds the lock; an orphaned mkfs keeps it. */
  readonly lockFd: number;
}

/** The last thing mkfs said, which is its reason. */
function formatFailed(path: string, { exitCode, signal, output }: ProgramResult): VolumeError {
  const reason = output.trim().split("\n").at(-1) ?? "";
  const end = signal === null ? `exit status ${exitCode}` : `ended by ${signal}`;
  const said = reason === "" ? "" : `: ${reason}`;
  return new VolumeError("format-failed", `mkfs.btrfs failed on ${path}, ${end}${said}`, {
    hint: "run the command again: it finishes the format",
  });
}

/**
 * Formats with mkfs.btrfs between writing and clearing the intent record. Policy has
 * allowed it before this is called.
 */
export function format(kernel: Kernel, request: FormatRequest): void {
  const { path, disk, mkfs, label, options, overwrite, lockFd } = request;
  const { sizeBytes } = disk;
  const middle = intentOffset(sizeBytes);
  const before = disk.read(middle, intentBytes);
  writeDurably(kernel, path, [[middle, encodeIntent(sizeBytes, kernel.randomId())]]);
  if (overwrite) {
    // An old copy that survived beside a half-written filesystem would be taken for its repair.
    const zeros = new Uint8Array(superblockBytes);
    writeDurably(
      kernel,
      path,
      copyOffsets(sizeBytes).map((offset) => [offset, zeros]),
    );
  }
  // No discard: it takes 100 ms on 8 TiB, frees nothing on a blank disk, and would drop the record.
  const args = ["--nodiscard", "--label", label, ...(overwrite ? ["--force"] : [])];
  const chosen = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
  const result = kernel.run(mkfs, [...args, ...chosen, path], [lockFd]);
  if (result.exitCode !== 0) {
    // mkfs gave up by itself: what was not blank must not look like a format to be finished unasked.
    if (overwrite && result.exitCode !== null) writeDurably(kernel, path, [[middle, before]]);
    throw formatFailed(path, result);
  }
  clearIntent(kernel, path, sizeBytes);
}
