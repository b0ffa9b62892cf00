import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { raw, struct, u16, u32, u64 } from "../../../src/linux/struct.ts";
import { textUntilNul } from "../../../src/linux/text.ts";
import type { Filesystem } from "./btrfs.ts";
import { requests } from "./ioctl-names.ts";
import type { SimulatedKernel } from "./kernel.ts";
import { simulatedLoopIoctl } from "./loop-ioctls.ts";
import { entryAt } from "./paths.ts";
import type { Open } from "./process.ts";
import { directory } from "./tree.ts";

const volumeName = struct(4096, { name: raw(8, 4088) });
const fsInfo = struct(1024, {
  maxId: u64(0),
  devices: u64(8),
  fsid: raw(16, 16),
  nodeSize: u32(32),
  sectorSize: u32(36),
  checksumType: u16(44),
  generation: u64(56),
});
const devInfo = struct(4096, { id: u64(0), used: u64(24), total: u64(32), path: raw(3072, 1024) });
const subvolumeInfo = struct(504, { id: u64(0), flags: u64(288), receivedUuid: raw(328, 16) });
const number32 = struct(4, { value: u32(0) });
const number64 = struct(8, { value: u64(0) });

const fail = (errno: number): never => {
  throw new SystemError("ioctl", errno);
};

export function simulatedIoctl(
  kernel: SimulatedKernel,
  open: Open,
  request: number,
  argument: Uint8Array | number,
): number {
  const buffer = typeof argument === "number" ? new Uint8Array(8) : argument;
  if (open.what.kind === "block" || open.what.kind === "control") {
    return (
      blockIoctl(kernel, open, request, buffer) ?? simulatedLoopIoctl(kernel, open, request, buffer)
    );
  }
  const filesystem = kernel.world.filesystems.get(open.place.mount.filesystem);
  if (filesystem === undefined) return fail(Errno.ENOTTY);
  if (open.what.kind === "text") return fileIoctl(kernel, filesystem, open, request, buffer);
  if (open.what.kind !== "directory") return fail(Errno.ENOTTY);
  return btrfsIoctl(kernel, filesystem, open, request, buffer);
}

/** The flags of a file; NOCOW does nothing on one that holds something. */
function fileIoctl(
  { world }: SimulatedKernel,
  { fsid }: Filesystem,
  { place }: Open,
  request: number,
  buffer: Uint8Array,
): number {
  const here = entryAt(world, place);
  if (here?.kind !== "file") return fail(Errno.ENOENT);
  switch (request) {
    case requests.FS_IOC_GETFLAGS:
      number32.patch(buffer, { value: here.flags ?? 0 });
      return 0;
    case requests.FS_IOC_SETFLAGS:
      if (world.isReadOnlyAt(fsid, place.path)) fail(Errno.EROFS);
      if (here.text === "") {
        world.setEntry(fsid, place.path, { ...here, flags: number32.decode(buffer).value });
        world.effect({ kind: "flags", filesystem: fsid, path: place.path });
      }
      return 0;
    default:
      return fail(Errno.ENOTTY);
  }
}

/** Gives null when it is none of these requests. */
function blockIoctl(
  { world }: SimulatedKernel,
  { what }: Open,
  request: number,
  buffer: Uint8Array,
): number | null {
  if (what.kind !== "block") return null;
  const storage = world.storageOf(what.name);
  switch (request) {
    case requests.BLKGETSIZE64:
      number64.patch(buffer, { value: BigInt(storage?.sizeBytes ?? 0) });
      return 0;
    case requests.BLKROGET:
      number32.patch(buffer, { value: world.disks.get(what.name)?.readOnly === true ? 1 : 0 });
      return 0;
    case requests.BLKSSZGET:
      number32.patch(buffer, { value: 512 });
      return 0;
    case requests.BLKFLSBUF:
      // Written out, but into the cache of the disk: only a flush makes that durable.
      storage?.writeBack();
      return 0;
    default:
      return null;
  }
}

/** The kernel refuses to resize to less (fs/btrfs/ioctl.c, SZ_256M). */
const leastResizeBytes = 256 * 1024 * 1024;

function btrfsIoctl(
  { world }: SimulatedKernel,
  filesystem: Filesystem,
  { place }: Open,
  request: number,
  buffer: Uint8Array,
): number {
  const here = entryAt(world, place);
  if (here?.kind !== "directory") return fail(Errno.ENOENT);
  const { superblock, fsid } = filesystem;
  switch (request) {
    case requests.FS_INFO:
      fsInfo.patch(buffer, {
        maxId: 1n,
        devices: 1n,
        fsid: superblock.block.slice(32, 48),
        nodeSize: 16_384,
        sectorSize: 4096,
        generation: superblock.generation,
      });
      return 0;
    case requests.DEV_INFO:
      if (devInfo.decode(buffer).id !== 1n) fail(Errno.ENODEV);
      devInfo.patch(buffer, { used: superblock.deviceUsedBytes, total: superblock.deviceBytes });
      return 0;
    case requests.GET_DEV_STATS:
      // All counters are 0: what fails here is what a test lets fail, and it says so at once.
      return 0;
    case requests.RESIZE: {
      if (textUntilNul(volumeName.decode(buffer).name) !== "1:max") fail(Errno.EINVAL);
      if (filesystem.readOnly) fail(Errno.EROFS);
      const storage = world.storageOf(filesystem.deviceName) ?? fail(Errno.ENODEV);
      const bytes = storage.sizeBytes - (storage.sizeBytes % 4096);
      if (bytes < leastResizeBytes) fail(Errno.EINVAL);
      if (bytes === filesystem.bytes) return 0;
      filesystem.commit(storage, filesystem.tree, { deviceBytes: BigInt(bytes) });
      world.effect({ kind: "resize", filesystem: fsid });
      return 0;
    }
    case requests.SUBVOL_CREATE: {
      const path = `${place.path}/${textUntilNul(volumeName.decode(buffer).name)}`;
      if (filesystem.readOnly) fail(Errno.EROFS);
      if (filesystem.tree.has(path)) fail(Errno.EEXIST);
      world.setEntry(fsid, path, directory(256, { subvolume: world.id() }));
      world.effect({ kind: "subvolume", filesystem: fsid, path });
      return 0;
    }
    case requests.SUBVOL_GETFLAGS:
      if (here.inode !== 256) fail(Errno.EINVAL);
      number64.patch(buffer, { value: here.readOnly === true ? 2n : 0n });
      return 0;
    case requests.SUBVOL_SETFLAGS: {
      if (here.inode !== 256) fail(Errno.EINVAL);
      if (filesystem.readOnly) fail(Errno.EROFS);
      const readOnly = number64.decode(buffer).value === 2n;
      world.setEntry(fsid, place.path, { ...here, readOnly });
      world.effect({ kind: "flags", filesystem: fsid, path: place.path });
      return 0;
    }
    case requests.GET_SUBVOL_INFO:
      subvolumeInfo.patch(buffer, {
        id: BigInt(here.subvolume ?? 5),
        flags: here.readOnly === true ? 1n : 0n,
        receivedUuid: new Uint8Array(16).fill(here.isReceived === true ? 7 : 0),
      });
      return 0;
    case requests.FS_IOC_GETFLAGS:
      number32.patch(buffer, { value: here.flags });
      return 0;
    case requests.FS_IOC_SETFLAGS: {
      if (world.isReadOnlyAt(fsid, place.path)) fail(Errno.EROFS);
      const flags = number32.decode(buffer).value;
      world.setEntry(fsid, place.path, { ...here, flags });
      world.effect({ kind: "flags", filesystem: fsid, path: place.path });
      return 0;
    }
    default:
      return fail(Errno.ENOTTY);
  }
}
