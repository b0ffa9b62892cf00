import { devicePath, kernelName } from "./block-device.ts";
import { Errno, isErrno } from "./errno.ts";
import { readTextOrNull } from "./files.ts";
import type { Kernel } from "./kernel.ts";
import { backingOf } from "./loop.ts";

/** Where the bytes of a block device begin. */
interface Place {
  /** A disk by its name, a file by its device and inode; null for a file that the kernel does not tell of. */
  readonly id: string | null;
  /** Of a file, as sysfs shows it: where mount namespaces differ, two files may have one path. */
  readonly path: string | null;
  readonly offsetBytes: bigint;
}

/** Documentation/ABI/testing/sysfs-block: a partition counts its start in these, whatever the disk's are. */
const sectorBytes = 512n;

/** A loop device on a loop device, and so on: nobody stacks more. */
const deepest = 16;

/** The file or the disk below a block device ("loop0p1"), through its partitions and loop devices. */
function placeOf(kernel: Kernel, name: string, offsetBytes = 0n, depth = 0): Place {
  const folder = `/sys/class/block/${name}`;
  const itself: Place = { id: name, path: null, offsetBytes };
  if (depth === deepest) return itself;
  const start = readTextOrNull(kernel, `${folder}/start`);
  if (start !== null) {
    const disk = kernel.readlink(folder).split("/").at(-2) ?? name;
    return placeOf(kernel, disk, offsetBytes + BigInt(start) * sectorBytes, depth + 1);
  }
  const file = readTextOrNull(kernel, `${folder}/loop/backing_file`);
  if (file === null) return itself;
  try {
    const { device, inode, nodeDevice, offset } = backingOf(kernel, devicePath(name));
    const at = offsetBytes + offset;
    if (nodeDevice !== "0:0") return placeOf(kernel, kernelName(kernel, nodeDevice), at, depth + 1);
    return { id: `${device} ${inode}`, path: file, offsetBytes: at };
  } catch (error) {
    // A container that lacks the node, may not open it, or has it for another device: then the name of the
    // file is all there is.
    const { ENOENT, ENXIO, ENOTTY, EACCES, EPERM } = Errno;
    if (!isErrno(error, ENOENT, ENXIO, ENOTTY, EACCES, EPERM)) throw error;
    const offset = readTextOrNull(kernel, `${folder}/loop/offset`) ?? "0";
    return { id: null, path: file, offsetBytes: offsetBytes + BigInt(offset) };
  }
}

const isSame = (one: Place, other: Place): boolean =>
  one.offsetBytes === other.offsetBytes &&
  (one.id === null || other.id === null
    ? one.path !== null && one.path === other.path
    : one.id === other.id);

/** The first of the block devices `others` that is another one than `name` and shows the same bytes. */
export function sameBytes(kernel: Kernel, name: string, others: readonly string[]): string | null {
  const rest = others.filter((other) => other !== name);
  if (rest.length === 0) return null;
  const place = placeOf(kernel, name);
  const isTwin = (other: string): boolean => {
    try {
      return isSame(place, placeOf(kernel, other));
    } catch (error) {
      // It went away since it was listed, and so did its mount.
      if (isErrno(error, Errno.ENOENT, Errno.ENODEV)) return false;
      throw error;
    }
  };
  return rest.find(isTwin) ?? null;
}
