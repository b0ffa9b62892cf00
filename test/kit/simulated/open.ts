import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDWR } from "../../../src/linux/kernel.ts";
import { utf8 } from "../../../src/linux/text.ts";
import { entryAt, type Place, pathText } from "./paths.ts";
import type { Open } from "./process.ts";
import { Storage } from "./storage.ts";
import { nameOfDevice } from "./sys.ts";
import { parentOf } from "./tree.ts";
import type { World } from "./world.ts";

/** A new file, of the only kind that the program makes. */
export function createImage(world: World, place: Place, path: string): Open["what"] {
  if (entryAt(world, { ...place, path: parentOf(place.path) }) === undefined) {
    throw new SystemError("open", Errno.ENOENT, path);
  }
  const image = world.id();
  world.images.set(image, { storage: new Storage(0), linkCount: 1, durableBytes: null });
  world.setEntry(place.mount.filesystem, place.path, { kind: "image", image });
  world.effect({ kind: "create", path: pathText(place) });
  return { kind: "image", image };
}

/** An empty file of a mounted filesystem; it takes the NOCOW flag from its directory. */
export function createFile(world: World, place: Place, path: string, mode: number): void {
  const { filesystem } = place.mount;
  if (world.isReadOnlyAt(filesystem, place.path))
    throw new SystemError("openat2", Errno.EROFS, path);
  const above = entryAt(world, { ...place, path: parentOf(place.path) });
  const flags = above?.kind === "directory" ? above.flags : 0;
  world.setEntry(filesystem, place.path, { kind: "file", mode, text: "", flags });
  world.effect({ kind: "create", path: pathText(place) });
}

/** open(2) of what is at a place. */
export function openEntry(
  world: World,
  call: string,
  path: string,
  place: Place,
  flags: number,
): Open["what"] {
  const fail = (errno: number): never => {
    throw new SystemError(call, errno, path);
  };
  const entry = entryAt(world, place);
  if (entry === undefined) return fail(Errno.ENOENT);
  if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) fail(Errno.EEXIST);
  if (entry.kind !== "directory" && (flags & O_DIRECTORY) !== 0) fail(Errno.ENOTDIR);
  if (entry.kind === "symlink") fail(Errno.ELOOP);
  if ((flags & O_PATH) !== 0) return { kind: "path" };
  const writing = (flags & O_RDWR) !== 0;
  switch (entry.kind) {
    case "directory":
      return writing ? fail(Errno.EISDIR) : { kind: "directory" };
    case "file":
      return { kind: "text", bytes: utf8(entry.text) };
    case "image":
      return { kind: "image", image: entry.image };
    case "control":
      return { kind: "control" };
    case "symlink":
      return fail(Errno.ELOOP);
    case "block": {
      const { device } = entry;
      const name = nameOfDevice(world, device) ?? fail(Errno.ENXIO);
      if (writing && world.disks.get(name)?.readOnly === true) fail(Errno.EACCES);
      const isClaimed = world.filesystemOn(name) !== null;
      if ((flags & O_EXCL) !== 0 && isClaimed) fail(Errno.EBUSY);
      return { kind: "block", name, device };
    }
  }
}
