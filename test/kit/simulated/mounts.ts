import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { MNT_DETACH, MNT_EXPIRE, MS_NOATIME } from "../../../src/linux/kernel.ts";
import { Filesystem, readForMount, readTree } from "./btrfs.ts";
import { entryAt, type Place, pathText } from "./paths.ts";
import type { Mount, World } from "./world.ts";

interface MountRequest {
  /** The kernel's name of the device. */
  readonly name: string;
  readonly source: string;
  readonly place: Place;
  readonly flags: number;
  readonly data: string;
}

/** mount(2) of a Btrfs. The first mount of a device reads it with the kernel's own checks. */
export function mountFilesystem(world: World, request: MountRequest): void {
  const { name, source, place, flags, data } = request;
  const fail = (errno: number): never => {
    throw new SystemError("mount", errno, source);
  };
  if (entryAt(world, place)?.kind !== "directory") fail(Errno.ENOTDIR);
  const options = data.split(",");
  if (options.includes("noatime")) fail(Errno.EINVAL);
  const mounted = world.filesystemOn(name);
  const filesystem = mounted ?? readFilesystem(world, name, source);
  const subvolume = options.find((option) => option.startsWith("subvol="))?.slice(7) ?? "";
  const root = subvolume === "" || subvolume === "/" ? "" : `/${subvolume}`;
  const entry = filesystem.tree.get(root);
  if (entry?.kind !== "directory") throw new SystemError("mount", Errno.ENOENT, source);
  if (root !== "" && entry.subvolume === undefined) fail(Errno.EINVAL);
  const { mount } = place;
  if (mount.filesystem === filesystem.fsid && mount.root === root && place.path === root) {
    fail(Errno.EBUSY);
  }
  world.filesystems.set(filesystem.fsid, filesystem);
  addMount(world, place, filesystem.fsid, root, source, (flags & MS_NOATIME) !== 0);
}

function readFilesystem(world: World, name: string, source: string): Filesystem {
  const storage = world.storageOf(name);
  if (storage === null) throw new SystemError("mount", Errno.ENXIO, source);
  const superblock = readForMount(storage);
  const { fsid } = superblock;
  if (world.filesystems.has(fsid)) throw new SystemError("mount", Errno.EEXIST, source);
  const tree = readTree(storage, superblock);
  const device = `0:${world.id()}`;
  const readOnly = false;
  return new Filesystem({ fsid, deviceName: name, device, superblock, versions: [tree], readOnly });
}

/** Puts a filesystem that is there into the mount table. */
export function addMount(
  world: World,
  place: Place,
  filesystem: string,
  root: string,
  source: string,
  noatime = true,
): void {
  const point = pathText(place);
  const mount: Mount = {
    id: world.id(),
    parentId: place.mount.id,
    point,
    at: place.path,
    filesystem,
    root,
    source,
    options: noatime ? "rw,noatime" : "rw,relatime",
  };
  world.mounts = [...world.mounts, mount];
  world.effect({ kind: "mount", point });
}

/** umount2(2). The last unmount of a Btrfs commits what changed. */
export function unmountFilesystem(
  world: World,
  place: Place,
  target: string,
  flags: number,
  isOpen: boolean,
): void {
  const { mount } = place;
  const fail = (errno: number): never => {
    throw new SystemError("umount2", errno, target);
  };
  if (place.path !== mount.root || mount.point === "/") fail(Errno.EINVAL);
  const isBusy = isOpen || world.mounts.some(({ parentId }) => parentId === mount.id);
  if (isBusy && (flags & MNT_DETACH) === 0) fail(Errno.EBUSY);
  if ((flags & MNT_EXPIRE) !== 0) fail(Errno.EAGAIN);
  world.mounts = world.mounts.filter(
    ({ id, parentId }) => id !== mount.id && parentId !== mount.id,
  );
  const filesystem = world.filesystems.get(mount.filesystem);
  const isLast = !world.mounts.some((other) => other.filesystem === mount.filesystem);
  if (filesystem !== undefined && isLast && !isBusy) {
    const storage = world.storageOf(filesystem.deviceName);
    if (filesystem.isDirty && storage !== null) filesystem.commit(storage);
    world.filesystems.delete(filesystem.fsid);
  }
  world.effect({ kind: "unmount", point: mount.point });
}
