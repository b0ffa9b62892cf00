import { copyOffsets, superblockBytes } from "../btrfs/superblock.ts";
import { dropCache } from "../linux/block-device.ts";
import { areEqual } from "../linux/bytes.ts";
import { reasonOf, SystemError } from "../linux/errno.ts";
import { statOrNull } from "../linux/files.ts";
import { variable } from "../linux/inherited.ts";
import {
  type FileStatus,
  isRegularFile,
  type Kernel,
  type ProgramResult,
} from "../linux/kernel.ts";
import { type Disk, withBlock } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { clearIntent, encodeIntent, intentBytes, intentOffset } from "./intent.ts";
import { defaultNodeBytes, type MkfsOptions } from "./layout.ts";
import type { Verdict } from "./verdict.ts";
import { judge } from "./verdict.ts";
import { hintOfFiles } from "./report.ts";
import { writeDurably } from "./write.ts";

const systemFolders = [
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  "/usr/local/bin",
  "/usr/bin",
  "/bin",
];

/** Where every user may write, anybody could have put a program for root to run. */
const isForAll = (status: FileStatus | null): boolean => ((status?.mode ?? 0) & 0o002) !== 0;

/** As execvp(3) sees it: what cannot be looked at, in a loop of links or a dead mount, is not there. */
function lookAt(kernel: Kernel, path: string): FileStatus | null {
  try {
    return statOrNull(kernel, path);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/**
 * The path of mkfs.btrfs: from the PATH, or where systems keep it when the PATH leaves that out. Who
 * sets root's PATH is trusted (sudo and systemd set it), but a slip such as PATH=/tmp:… is not.
 */
export function findMkfs(kernel: Kernel): string {
  const folders = (variable("PATH") ?? "").split(":").filter((folder) => folder.startsWith("/"));
  for (const folder of [...folders, ...systemFolders]) {
    const path = `${folder}/mkfs.btrfs`;
    const status = lookAt(kernel, path);
    if (status === null || !isRegularFile(status) || (status.mode & 0o111) === 0) continue;
    if (!isForAll(status) && !isForAll(lookAt(kernel, folder))) return path;
  }
  throw new VolumeError("mkfs-missing", "there is no mkfs.btrfs on this system to format with", {
    hint: "install it: apt-get install btrfs-progs",
  });
}

const inheritedPath = "/proc/self/fd/3";

interface FormatRequest {
  readonly path: string;
  readonly disk: Disk;
  readonly mkfs: string;
  readonly label: string;
  readonly options: MkfsOptions;
  readonly verdict: Verdict["kind"];
  /** The disk is not blank: what is there goes. */
  readonly overwrite: boolean;
  /** See `DeviceSize`. */
  readonly isRagged: boolean;
  /** The open device, which holds the lock; an orphaned mkfs keeps it. */
  readonly fd: number;
  /** Called when the disk holds the first thing of this format. */
  readonly onBegun: () => void;
}

const errorMark = "ERROR: ";

/**
 * Why mkfs gave up: its first error, or the last thing that it said. What it says of itself it writes to another
 * stream, and that arrives only when it ends.
 */
function reasonIn(output: string): string {
  const lines = output.trim().split("\n");
  const error = lines.find((line) => line.startsWith(errorMark));
  return error?.slice(errorMark.length) ?? lines.at(-1) ?? "";
}

function formatFailed(path: string, { exitCode, signal, output }: ProgramResult): VolumeError {
  const reason = reasonIn(output).replaceAll(inheritedPath, path);
  const end = signal === null ? `exit status ${exitCode}` : `ended by ${signal}`;
  const said = reason === "" ? "" : `: ${reason}`;
  const hint =
    signal === null
      ? "mkfs.btrfs says why: see the kernel's log (dmesg) and the options of the layout"
      : "run the command again: it finishes the format";
  return new VolumeError("format-failed", `mkfs.btrfs failed on ${path}, ${end}${said}`, { hint });
}

/**
 * Formats with mkfs.btrfs between writing and clearing the intent record. Policy has
 * allowed it before this is called.
 */
export function format(kernel: Kernel, request: FormatRequest): void {
  const { path, disk, mkfs, label, options, overwrite, fd } = request;
  const { sizeBytes } = disk;
  const before = disk.read(intentOffset, intentBytes).slice();
  const record = encodeIntent(sizeBytes, kernel.randomId());
  writeDurably(kernel, fd, [[intentOffset, record]]);
  request.onBegun();
  if (overwrite) {
    // An old copy that survived beside a half-written filesystem would be taken for its repair. The
    // primary goes last: zeroed beside a living mirror it would be damage, which is repaired unasked.
    const zeros = new Uint8Array(superblockBytes);
    for (const offset of copyOffsets(sizeBytes).toReversed()) {
      writeDurably(kernel, fd, [[offset, zeros]]);
    }
  }
  // No discard: it takes 100 ms on 8 TiB, frees nothing on a blank disk, and would drop the record.
  const args = ["--nodiscard", "--label", label, ...(overwrite ? ["--force"] : [])];
  // mkfs counts the last sector, of which a part cannot be written, and probes it.
  if (request.isRagged)
    args.push("--byte-count", String(sizeBytes), ...(overwrite ? [] : ["--force"]));
  // A node of less than a page is for the newest kernels and programs only.
  const nodesize = Math.max(options.nodesize ?? defaultNodeBytes, kernel.pageBytes());
  const chosen = Object.entries({ ...options, nodesize }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
  // Where mkfs wrote nothing, the disk must not look like a format to be finished unasked, for
  // somebody may use it for something else before the next run.
  const takeRecordBack = (): void => {
    // An image file shows where it has data only when the cache of its device is written out.
    dropCache(kernel, fd);
    if (!areEqual(disk.read(intentOffset, intentBytes), record)) return;
    const isAsBefore = judge(withBlock(disk, intentOffset, before), null).kind === request.verdict;
    if (isAsBefore) writeDurably(kernel, fd, [[intentOffset, before]]);
  };
  let result: ProgramResult;
  try {
    // The first descriptor that a program inherits is its number 3: the disk that was judged, whoever turns
    // the path to another one now.
    result = kernel.run(mkfs, [...args, ...chosen, inheritedPath], [fd]);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    takeRecordBack();
    throw new VolumeError("format-failed", `${mkfs} could not be started: ${reasonOf(error)}`, {
      cause: error,
      hint:
        hintOfFiles(error) ??
        "see that it is a program for this machine, and that there is memory; then run this again",
    });
  }
  if (result.exitCode !== 0) {
    // It gave up by itself; one that was killed may have written anything.
    if (result.exitCode !== null) takeRecordBack();
    throw formatFailed(path, result);
  }
  dropCache(kernel, fd);
  clearIntent(kernel, fd, disk);
}
