import { readTextOrNull, statFd } from "../linux/files.ts";
import { type FileStatus, isBlockDevice, type Kernel } from "../linux/kernel.ts";
import { isOpenForWriting } from "../linux/leases.ts";
import { overlapsOf } from "../linux/place.ts";
import type { OpenDevice } from "./device.ts";
import { VolumeError } from "./error.ts";
import { assertNoSwap } from "./in-use.ts";
import {
  isForWriting,
  isOther,
  type Opener,
  openerOf,
  openerOfAny,
  type OpenFileTest,
  stillThere,
  unseen,
} from "./openers.ts";

/**
 * linux/magic.h: NFS, CIFS, SMB2, 9p, Ceph, FUSE, AFS. There a lease is also denied because a server does not allow
 * one, which says nothing of writers.
 */
const remote: readonly number[] = [
  0x6969, 0xff534d42, 0xfe534d42, 0x01021997, 0x00c36400, 0x65735546, 0x5346414f,
];

/** Who has locked the byte of QEMU's that says "I read", and has been let pass with its locks, does not write. */
const isDeclaredReader: OpenFileTest = (info) => /^lock:.* 100 100$/m.test(info);

/**
 * Throws `busy` while somebody has an image open for writing, as `cp` has that still fills it: what it holds would be
 * judged half written, and be written over. `fd` is open for reading only, and the image is not attached.
 */
export function assertNoWriter(kernel: Kernel, fd: number, path: string): void {
  if (!isOpenForWriting(kernel, fd)) return;
  const file = statFd(kernel, fd);
  const seen = openerOf(kernel, file, (info) => isForWriting(info) && !isDeclaredReader(info));
  if (seen === null && openerOf(kernel, file, isDeclaredReader) !== null) return;
  const isSure = seen !== null && isOther(kernel, seen);
  if (!isSure && remote.includes(kernel.fstatfs(fd).magic)) return;
  // The kernel itself has open what it swaps to.
  assertNoSwap(kernel, path, file);
  throw writtenTo(path, seen ?? unseen);
}

/** The same of a block device ("vdb") and what shows bytes of it too, and of the file behind it, where it has one. */
export function assertNoDiskWriter(
  kernel: Kernel,
  { path, name, nodeDevice }: Pick<OpenDevice, "path" | "name" | "nodeDevice">,
  file: FileStatus | null,
): void {
  const others = overlapsOf(kernel, name).map((overlap) =>
    readTextOrNull(kernel, `/sys/class/block/${overlap.name}/dev`),
  );
  const nodes = new Set([nodeDevice, ...others]);
  const isPartOfIt = (status: FileStatus): boolean =>
    isBlockDevice(status)
      ? nodes.has(status.nodeDevice)
      : file !== null && status.inode === file.inode && status.device === file.device;
  const look = (): Opener | null => openerOfAny(kernel, isPartOfIt, isForWriting);
  const seen = stillThere(kernel, look);
  if (seen !== null) throw writtenTo(path, seen);
}

function writtenTo(path: string, { text, pid }: Opener): VolumeError {
  const end = pid === null ? "" : `, or end it: kill ${pid}`;
  return new VolumeError("busy", `${path} is in use: ${text} has it open for writing`, {
    hint: `wait until it is done${end}; then run the command again`,
  });
}
