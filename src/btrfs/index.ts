/**
 * `arcbox-agent/btrfs`: Btrfs for Node and Bun. Paths in, plain values out. A call that fails throws a
 * SystemError, which has what Node's own errors have; sizes and ids of the filesystem are bigint.
 */
import { deviceSizeBytes } from "../linux/block-device.ts";
import { readExactly, statFd, withFd } from "../linux/files.ts";
import { isBlockDevice, type Kernel, O_DIRECTORY, O_NONBLOCK, O_RDONLY } from "../linux/kernel.ts";
import { linuxKernel } from "../linux/linux-kernel.ts";
import { type DeviceErrors, deviceErrors } from "./device-stats.ts";
import * as ioctls from "./ioctls.ts";
import * as snapshots from "./snapshot.ts";
import { type Space, spaceInfo } from "./space.ts";
import { listSubvolumes as list, type SubvolumeEntry } from "./subvolume-list.ts";
import {
  copyOffsets,
  isValidCopy,
  parseSuperblock,
  type Superblock,
  superblockBytes,
} from "./superblock.ts";
import { told } from "./system-error.ts";
import { trim as trimFilesystem } from "./trim.ts";

export type { DeviceErrors } from "./device-stats.ts";
export type { DeviceInfo, FilesystemInfo, SubvolumeInfo } from "./ioctls.ts";
export type { Space } from "./space.ts";
export type { SubvolumeEntry } from "./subvolume-list.ts";
export type { Superblock } from "./superblock.ts";
export { SystemError } from "./system-error.ts";

let shared: Kernel | undefined;
const kernel = (): Kernel => {
  shared ??= linuxKernel();
  return shared;
};

const withDirectory = <T>(path: string, use: (fd: number) => T): T =>
  withFd(kernel(), kernel().open(path, O_RDONLY | O_DIRECTORY), use);

const inDirectory = <T>(path: string, use: (fd: number) => T): T =>
  told({ path }, () => withDirectory(path, use));

const split = (path: string): readonly [parent: string, name: string] => {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  const parent = slash < 0 ? "." : trimmed.slice(0, slash + 1);
  return [parent, trimmed.slice(slash + 1)];
};

function withParent(path: string, use: (fd: number, name: string) => void): void {
  const [parent, name] = split(path);
  told({ path }, () => {
    withDirectory(parent, (fd) => {
      use(fd, name);
    });
  });
}

/** One copy of the superblock: `valid` when magic, own address and checksum are right. */
export interface SuperblockCopy {
  readonly offset: number;
  readonly valid: boolean;
  readonly superblock: Superblock;
}

/** Reads every copy that a device or image file of this size has, good or bad. */
export function readSuperblocks(path: string): readonly SuperblockCopy[] {
  const read = (fd: number): readonly SuperblockCopy[] => {
    const status = statFd(kernel(), fd);
    const size = isBlockDevice(status) ? deviceSizeBytes(kernel(), fd) : status.sizeBytes;
    return copyOffsets(size).map((offset) => {
      const block = new Uint8Array(new ArrayBuffer(superblockBytes));
      readExactly(kernel(), fd, block, offset);
      const superblock = parseSuperblock(block);
      return { offset, valid: isValidCopy(superblock, offset), superblock };
    });
  };
  return told({ path }, () => withFd(kernel(), kernel().open(path, O_RDONLY | O_NONBLOCK), read));
}

/** Makes an empty subvolume. Every user who may write to the directory above may do it. */
export function createSubvolume(path: string): void {
  withParent(path, (fd, name) => {
    ioctls.createSubvolume(kernel(), fd, name);
  });
}

/** Makes `target` a snapshot of the subvolume `source`, at once and without copying data. */
export function createSnapshot(
  source: string,
  target: string,
  { readOnly = false }: { readonly readOnly?: boolean } = {},
): void {
  const [parent, name] = split(target);
  told({ path: source, dest: target }, () => {
    withDirectory(source, (from) => {
      withDirectory(parent, (fd) => {
        snapshots.createSnapshot(kernel(), fd, name, from, readOnly);
      });
    });
  });
}

/** Deletes a subvolume or snapshot. Its space is freed in the background. */
export function deleteSubvolume(path: string): void {
  withParent(path, (fd, name) => {
    snapshots.deleteSubvolume(kernel(), fd, name);
  });
}

/** The subvolume that a directory is in. */
export const subvolumeInfo = (path: string): ioctls.SubvolumeInfo =>
  inDirectory(path, (fd) => ioctls.subvolumeInfo(kernel(), fd));

/** All subvolumes and snapshots of the filesystem that `path` is on. Needs root. */
export const listSubvolumes = (path: string): readonly SubvolumeEntry[] =>
  inDirectory(path, (fd) => list(kernel(), fd));

/** What the kernel says of the mounted filesystem. */
export const filesystemInfo = (path: string): ioctls.FilesystemInfo =>
  inDirectory(path, (fd) => ioctls.filesystemInfo(kernel(), fd));

/** One device of it, by its id; null when there is none of this id. */
export const deviceInfo = (path: string, deviceId = 1n): ioctls.DeviceInfo | null =>
  inDirectory(path, (fd) => ioctls.deviceInfo(kernel(), fd, deviceId));

/** The error counters of one device. */
export const deviceStats = (path: string, deviceId = 1n): DeviceErrors =>
  inDirectory(path, (fd) => deviceErrors(kernel(), fd, deviceId));

/** What is allocated and used, by type and profile. */
export const spaces = (path: string): readonly Space[] =>
  inDirectory(path, (fd) => spaceInfo(kernel(), fd));

/**
 * Resizes one device: "max", or a size in bytes. "busy" when a balance or the like is
 * running. "max" also shrinks when the device got smaller. Needs root.
 */
export const resize = (path: string, size: "max" | bigint, deviceId = 1n): "done" | "busy" =>
  inDirectory(path, (fd) => ioctls.resize(kernel(), fd, deviceId, size));

/** True when new files in this directory are overwritten in place. */
export const isNocow = (path: string): boolean =>
  inDirectory(path, (fd) => (ioctls.getInodeFlags(kernel(), fd) & ioctls.noCopyOnWrite) !== 0);

/** Sets NOCOW on a directory. Files that are in it already keep copy-on-write. Writes only if it differs. */
export function setNocow(path: string): void {
  inDirectory(path, (fd) => {
    const flags = ioctls.getInodeFlags(kernel(), fd);
    if ((flags & ioctls.noCopyOnWrite) !== 0) return;
    ioctls.setInodeFlags(kernel(), fd, flags | ioctls.noCopyOnWrite);
  });
}

/** Discards all free space; gives the bytes. Needs root, and takes its time. */
export const trim = (path: string): bigint =>
  inDirectory(path, (fd) => trimFilesystem(kernel(), fd));
