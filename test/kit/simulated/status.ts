import { Errno, SystemError } from "../../../src/linux/errno.ts";
import type { FileStatus } from "../../../src/linux/kernel.ts";
import { entryAt, type Place } from "./paths.ts";
import { deviceOf } from "./proc.ts";
import type { Open } from "./process.ts";
import { blockBytes } from "./storage.ts";
import type { Entry } from "./tree.ts";
import type { World } from "./world.ts";

const S_IFDIR = 0o040000;
const S_IFBLK = 0o060000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/** statx(2) of a place, or of an open file, which may have no name any more. */
export function statusOf(
  world: World,
  place: Place,
  what: Open["what"] | null,
  subject?: string,
): FileStatus {
  const entry: Entry | undefined = what?.kind === "image" ? what : entryAt(world, place);
  if (entry === undefined) throw new SystemError("statx", Errno.ENOENT, subject);
  const image = entry.kind === "image" ? world.images.get(entry.image) : undefined;
  const { filesystem } = place.mount;
  return {
    mode: modeOf(entry),
    owner: 0,
    inode: inodeOf(place, entry),
    sizeBytes: image?.storage.sizeBytes ?? (entry.kind === "file" ? entry.text.length : 0),
    allocatedBytes: (image?.storage.written().size ?? 0) * blockBytes,
    linkCount: image?.linkCount ?? 1,
    device: world.filesystems.get(filesystem)?.device ?? deviceOf(filesystem),
    nodeDevice: entry.kind === "block" ? entry.device : "0:0",
    bornSeconds: 0,
    changedSeconds: 0,
    mountId: place.mount.id,
  };
}

function modeOf(entry: Entry): number {
  switch (entry.kind) {
    case "directory":
      return S_IFDIR | entry.mode;
    case "file":
      return S_IFREG | entry.mode;
    case "image":
      return S_IFREG | 0o600;
    case "symlink":
      return S_IFLNK | 0o777;
    case "block":
      return S_IFBLK | 0o600;
    case "control":
      return S_IFCHR | 0o600;
  }
}

/** Only those that anything compares are told apart: directories, images and device nodes. */
function inodeOf(place: Place, entry: Entry): bigint {
  if (entry.kind === "directory") return BigInt(entry.inode);
  if (entry.kind === "image") return BigInt(entry.image);
  if (entry.kind !== "block") return 2n;
  const [major = 0, minor = 0] = entry.device.split(":").map(Number);
  return BigInt(100_000 + major * 1000 + minor + place.path.length);
}
