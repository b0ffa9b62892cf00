import { devicePath, kernelName } from "./block-device.ts";
import { Errno, isErrno } from "./errno.ts";
import { namesIn, readLineOrNull, readTextOrNull } from "./files.ts";
import type { Kernel } from "./kernel.ts";
import { backingAt, deletedFileOf, deletedMark } from "./loop.ts";
import { isOneFileByOverlay } from "./same-file.ts";
import { servedFiles } from "./served-files.ts";

/** Where the bytes of a block device begin. */
interface Place {
  /** A disk by its name, a file by its device and inode; null for a file that the kernel does not tell of. */
  readonly id: string | null;
  /** The loop device that shows the file; null above a disk. */
  readonly loop: string | null;
  readonly offsetBytes: bigint;
}

/** Documentation/ABI/testing/sysfs-block: start and size are counted in these, whatever the disk's are. */
const sectorBytes = 512n;

/** A loop device on a loop device, and so on: nobody stacks more. */
const deepest = 16;

const folderOf = (name: string): string => `/sys/class/block/${name}`;
const isLoop = (name: string): boolean => /^loop\d+$/.test(name);

/** Of a file, as sysfs shows it: where mount namespaces differ, two files may have one path. */
const filePathOf = (kernel: Kernel, { loop }: Place): string | null =>
  loop === null ? null : readLineOrNull(kernel, `${folderOf(loop)}/loop/backing_file`);

/** The file or the disk below a block device ("loop0p1"), through its partitions and loop devices. */
function placeOf(kernel: Kernel, name: string, offsetBytes = 0n, depth = 0): Place {
  const itself: Place = { id: name, loop: null, offsetBytes };
  if (depth === deepest) return itself;
  if (isLoop(name)) return placeOfLoop(kernel, name, offsetBytes, depth);
  const start = readTextOrNull(kernel, `${folderOf(name)}/start`);
  if (start === null) return itself;
  const disk = kernel.readlink(folderOf(name)).split("/").at(-2) ?? name;
  return placeOf(kernel, disk, offsetBytes + BigInt(start) * sectorBytes, depth + 1);
}

function placeOfLoop(kernel: Kernel, name: string, offsetBytes: bigint, depth: number): Place {
  try {
    const { device, inode, nodeDevice, offset } = backingAt(kernel, devicePath(name));
    const at = offsetBytes + offset;
    if (nodeDevice !== "0:0") return placeOf(kernel, kernelName(kernel, nodeDevice), at, depth + 1);
    return { id: `${device} ${inode}`, loop: name, offsetBytes: at };
  } catch (error) {
    // A container that lacks the node, may not open it, or has it for another device: then the name of the
    // file is all there is.
    // So it is where the filesystem of the file is dead.
    const { ENOENT, ENXIO, ENOTTY, EACCES, EPERM, EIO, ENOTCONN, ESTALE } = Errno;
    if (!isErrno(error, ENOENT, ENXIO, ENOTTY, EACCES, EPERM, EIO, ENOTCONN, ESTALE)) throw error;
    const offset = readTextOrNull(kernel, `${folderOf(name)}/loop/offset`);
    if (offset === null) return { id: name, loop: null, offsetBytes };
    return { id: null, loop: name, offsetBytes: offsetBytes + BigInt(offset) };
  }
}

/** The same of a device that may go away meanwhile, and its mounts with it. */
function placeOrNull(kernel: Kernel, name: string): Place | null {
  try {
    return placeOf(kernel, name);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.ENODEV)) return null;
    throw error;
  }
}

/** Of a place by its id: the filesystem that its file lies on; null above a disk, and of what is not known. */
const filesystemOf = (id: string | null): string | null =>
  id?.includes(" ") === true ? id.slice(0, id.indexOf(" ")) : null;

/** Whether another place has the same bottom as `one`, whose path is asked for once at most. */
function bottomTest(kernel: Kernel, one: Place): (other: Place) => boolean {
  const filesystem = filesystemOf(one.id);
  let path: string | null | undefined;
  return (other) => {
    const areKnown = one.id !== null && other.id !== null;
    if (areKnown && one.id === other.id) return true;
    if (one.loop === null || other.loop === null) return false;
    // Two files of one filesystem are two, by whichever overlay.
    if (filesystem !== null && filesystem === filesystemOf(other.id)) return false;
    path ??= filePathOf(kernel, one);
    const otherPath = path === null ? null : filePathOf(kernel, other);
    if (path === null || otherPath === null) return false;
    return areKnown ? isOneFileByOverlay(kernel, path, otherPath) : path === otherPath;
  };
}

/**
 * The path that the file below a block device had before it was deleted: the device has the only copy of it.
 * null where the file is there, and where there is none.
 */
export function deletedFileBelow(kernel: Kernel, name: string): string | null {
  if (!name.startsWith("loop")) return null;
  const file = isLoop(name) ? readLineOrNull(kernel, `${folderOf(name)}/loop/backing_file`) : null;
  // Most often the file is there, and no device on another one.
  if (file !== null && !file.endsWith(deletedMark) && !file.startsWith("/dev/")) return null;
  const { loop } = placeOf(kernel, name);
  return loop === null ? null : deletedFileOf(kernel, loop);
}

/**
 * Whether a device shows a file on another filesystem than a place does, and one that may not answer: then it
 * is not to be asked where it lies.
 */
function elsewhereFrom(kernel: Kernel, { id }: Place): (name: string) => boolean {
  const servedBy = servedFiles(kernel);
  const device = filesystemOf(id);
  return (name) => {
    const mount = servedBy(name);
    return mount !== null && mount.device !== device;
  };
}

/** The first of the block devices `others` that is another one than `name` and begins with the same bytes. */
export function sameBytes(kernel: Kernel, name: string, others: readonly string[]): string | null {
  const rest = others.filter((other) => other !== name);
  if (rest.length === 0) return null;
  const place = placeOf(kernel, name);
  const isElsewhere = elsewhereFrom(kernel, place);
  const hasItsBottom = bottomTest(kernel, place);
  const isTwin = (other: string): boolean => {
    if (isElsewhere(other)) return false;
    const found = placeOrNull(kernel, other);
    return found?.offsetBytes === place.offsetBytes && hasItsBottom(found);
  };
  return rest.find(isTwin) ?? null;
}

/** "loop0p1" of "loop0", "vdb1" of "vdb": the kernel writes a "p" behind a digit. */
export const isPartitionOf = (name: string, disk: string): boolean =>
  name.startsWith(disk) && (/\d$/.test(disk) ? /^p\d+$/ : /^\d+$/).test(name.slice(disk.length));

/** Block devices by name. Those of no bytes, as a loop device with nothing attached, may be left out. */
function deviceNames(kernel: Kernel): readonly string[] {
  // proc_partitions(5): one read, where sysfs takes one for each device.
  const table = readTextOrNull(kernel, "/proc/partitions");
  if (table === null) return namesIn(kernel, "/sys/class/block");
  const [, ...lines] = table.split("\n");
  // The name is the last column.
  return lines
    .map((line) => line.slice(line.lastIndexOf(" ") + 1).replaceAll("/", "!"))
    .filter((name) => name !== "");
}

/** A block device that shows bytes of another one too. */
export interface Overlap {
  readonly name: string;
  /** It shows some of them, but not all. */
  readonly isPart: boolean;
}

/**
 * The loop devices, partitions and disks that show bytes of the device `name` too. What md, device-mapper
 * and the like are made of, those claim: the kernel says so to who opens it.
 */
export function overlapsOf(kernel: Kernel, name: string): readonly Overlap[] {
  const others = deviceNames(kernel).filter((other) => other !== name);
  const isFamily = (other: string): boolean =>
    isPartitionOf(other, name) || isPartitionOf(name, other);
  // Nothing to look at on most machines: neither loop devices nor partitions of this disk.
  if (!others.some((other) => other.startsWith("loop") || isFamily(other))) return [];

  const place = placeOf(kernel, name);
  const range = rangeOf(kernel, name, place);
  const isElsewhere = elsewhereFrom(kernel, place);
  const hasItsBottom = bottomTest(kernel, place);
  const isNear = (other: string): boolean =>
    other.startsWith("loop") ||
    (place.id !== null && (other === place.id || isPartitionOf(other, place.id)));
  return others.filter(isNear).flatMap((other) => {
    if (isElsewhere(other)) return [];
    const found = placeOrNull(kernel, other);
    if (found === null || !hasItsBottom(found)) return [];
    const { start, end } = rangeOf(kernel, other, found);
    if (start >= range.end || range.start >= end) return [];
    return [{ name: other, isPart: start > range.start || end < range.end }];
  });
}

interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

function rangeOf(kernel: Kernel, name: string, { offsetBytes }: Place): Range {
  const size = readTextOrNull(kernel, `${folderOf(name)}/size`) ?? "0";
  return { start: offsetBytes, end: offsetBytes + BigInt(size) * sectorBytes };
}
