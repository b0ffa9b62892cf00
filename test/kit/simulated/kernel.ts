import { Errno, SystemError } from "../../../src/linux/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  type FilesystemSpace,
  type FileStatus,
  type Kernel,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
  type ProgramResult,
  SEEK_DATA,
} from "../../../src/linux/kernel.ts";
import { simulatedFcntl } from "./file-locks.ts";
import { simulatedIoctl } from "./ioctls.ts";
import { type MkfsFault, runMkfs } from "./mkfs-process.ts";
import { mountFilesystem, unmountFilesystem } from "./mounts.ts";
import { createFile, createImage, openEntry } from "./open.ts";
import { entryAt, type Place, pathText, topOf, type Walk, walk } from "./paths.ts";
import { type Open, Process } from "./process.ts";
import { statusOf } from "./status.ts";
import { blockBytes, type Storage } from "./storage.ts";
import { nameOfDevice, sysNames } from "./sys.ts";
import { directory, nameOf, namesIn, parentOf, withoutEntry } from "./tree.ts";
import type { World } from "./world.ts";

/** Behind the seam of the program, a machine that is all in memory. */
export class SimulatedKernel implements Kernel {
  readonly world: World;
  readonly process = new Process();
  /** What happens to the next mkfs; it is forgotten then. */
  mkfsFault: MkfsFault | null = null;

  constructor(world: World) {
    this.world = world;
  }

  #fail(call: string, errno: number, subject?: string): never {
    throw new SystemError(call, errno, subject);
  }

  #walk(path: string, how: Omit<Walk, "placeOfFd">): Place {
    const placeOfFd = (fd: number) => this.process.files.get(fd)?.place ?? null;
    return walk(this.world, path, { ...how, placeOfFd });
  }

  /** The open file behind a descriptor. */
  file(fd: number, call: string): Open {
    return this.process.files.get(fd) ?? this.#fail(call, Errno.EBADF);
  }

  open(path: string, flags: number, _mode = 0): number {
    const isNew = (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0;
    const followLast = (flags & O_NOFOLLOW) === 0 && !isNew;
    const place = this.#walk(path, { call: "open", followLast });
    // A descriptor's own link leads to the open file even when its name is gone.
    const again = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
    const open = again === null ? undefined : this.process.files.get(Number(again[1]));
    if (open?.what.kind === "image") {
      return this.#add(path, place, flags, open.what);
    }
    if (entryAt(this.world, place) === undefined && (flags & O_CREAT) !== 0) {
      return this.#add(path, place, flags, createImage(this.world, place, path));
    }
    return this.#add(path, place, flags, openEntry(this.world, "open", path, place, flags));
  }

  openBeneath(fd: number, path: string, flags: number, resolve: number, mode = 0): number {
    const from = fd === AT_FDCWD ? topOf(this.world) : this.file(fd, "openat2").place;
    const followLast = (flags & O_NOFOLLOW) === 0;
    const place = this.#walk(path, { call: "openat2", from, followLast, resolve });
    if ((flags & O_CREAT) !== 0 && entryAt(this.world, place) === undefined) {
      // Inside a volume only files are made, and elsewhere only images.
      if (fd === AT_FDCWD) {
        return this.#add(path, place, flags, createImage(this.world, place, path));
      }
      createFile(this.world, place, path, mode);
      flags &= ~O_EXCL;
    }
    return this.#add(path, place, flags, openEntry(this.world, "openat2", path, place, flags));
  }

  #add(path: string, place: Place, flags: number, what: Open["what"]): number {
    const description = this.world.id();
    return this.process.add({ path, place, flags, description, what, position: 0 });
  }

  close(fd: number): void {
    const { description } = this.file(fd, "close");
    this.process.files.delete(fd);
    this.unlockUnused(description);
  }

  /** A lock goes when the last that holds the open file description lets go of it. */
  unlockUnused(description: number): void {
    const { loops } = this.world;
    const holders = [...loops.values(), ...this.process.files.values()];
    if (holders.some((holder) => holder.description === description)) return;
    for (const [key, owner] of this.world.locks) {
      if (owner === description) this.world.locks.delete(key);
    }
    const { rangeLocks } = this.world;
    this.world.rangeLocks = rangeLocks.filter((lock) => lock.description !== description);
  }

  /** What the kernel does when a process ends, however it ends. */
  exit(): void {
    for (const fd of [...this.process.files.keys()]) this.close(fd);
  }

  read(fd: number, buffer: Uint8Array): number {
    const open = this.file(fd, "read");
    if (open.what.kind === "events") this.#fail("read", Errno.EAGAIN);
    if (open.what.kind !== "text") return this.#fail("read", Errno.EISDIR);
    const part = open.what.bytes.subarray(open.position, open.position + buffer.length);
    buffer.set(part);
    open.position += part.length;
    return part.length;
  }

  write(): number {
    return this.#fail("write", Errno.EINVAL);
  }

  #storage(fd: number, call: string): Storage {
    const { what } = this.file(fd, call);
    const storage =
      what.kind === "block"
        ? this.world.storageOf(what.name)
        : what.kind === "image"
          ? this.world.images.get(what.image)?.storage
          : undefined;
    return storage ?? this.#fail(call, Errno.EINVAL);
  }

  pread(fd: number, buffer: Uint8Array, offsetBytes: number): number {
    const storage = this.#storage(fd, "pread");
    if (storage.isBad(offsetBytes, buffer.length)) this.#fail("pread", Errno.EIO);
    buffer.fill(0);
    return storage.read(buffer, offsetBytes);
  }

  readAhead(): void {}

  pageComes(): boolean {
    return true;
  }

  pwrite(fd: number, buffer: Uint8Array, offsetBytes: number): number {
    const { what, flags } = this.file(fd, "pwrite");
    if ((flags & O_RDWR) === 0) this.#fail("pwrite", Errno.EBADF);
    const storage = this.#storage(fd, "pwrite");
    const count = Math.min(buffer.length, storage.sizeBytes - offsetBytes);
    if (count <= 0) this.#fail("pwrite", Errno.ENOSPC);
    storage.write(buffer.slice(0, count), offsetBytes);
    const device = what.kind === "block" ? what.name : "";
    const where = { device, offset: offsetBytes, length: count };
    this.world.effect({ kind: "write", by: "program", ...where });
    return count;
  }

  fsync(fd: number): void {
    const { what } = this.file(fd, "fsync");
    this.#storage(fd, "fsync").flush();
    if (what.kind === "block") this.flushed(what.name);
    const image = what.kind === "image" ? this.world.images.get(what.image) : undefined;
    // Its size is there for good; its name only if that was so before.
    if (image !== undefined && image.durableBytes !== null) {
      image.durableBytes = image.storage.sizeBytes;
    }
  }

  syncfs(fd: number): void {
    const { filesystem } = this.file(fd, "syncfs").place.mount;
    const btrfs = this.world.filesystems.get(filesystem);
    const storage = btrfs === undefined ? null : this.world.storageOf(btrfs.deviceName);
    if (btrfs?.isDirty === true && storage !== null) btrfs.commit(storage);
  }

  /** A flush of a device has reached the disk; a file below it is there with its name and size then. */
  flushed(name: string): void {
    const loop = this.world.loops.get(name);
    const image = loop === undefined ? undefined : this.world.images.get(loop.image);
    if (image !== undefined) image.durableBytes = image.storage.sizeBytes;
    this.world.effect({ kind: "flush", device: name });
  }

  ftruncate(fd: number, lengthBytes: number): void {
    const { path } = this.file(fd, "ftruncate");
    this.#storage(fd, "ftruncate").resize(lengthBytes);
    this.world.effect({ kind: "truncate", path });
  }

  lseek(fd: number, offsetBytes: number, whence: number): number {
    const storage = this.#storage(fd, "lseek");
    const written = storage.written();
    if (offsetBytes >= storage.sizeBytes) this.#fail("lseek", Errno.ENXIO);
    const first = Math.floor(offsetBytes / blockBytes);
    if (whence === SEEK_DATA) {
      const next = Math.min(...[...written].filter((index) => index >= first));
      if (next === Number.POSITIVE_INFINITY) this.#fail("lseek", Errno.ENXIO);
      return Math.max(offsetBytes, next * blockBytes);
    }
    let index = first;
    while (written.has(index)) index += 1;
    return Math.min(Math.max(offsetBytes, index * blockBytes), storage.sizeBytes);
  }

  statx(fd: number, path: string, flags: number): FileStatus {
    const open = fd === AT_FDCWD ? null : this.file(fd, "statx");
    if ((flags & AT_EMPTY_PATH) !== 0 && path === "" && open !== null) {
      return statusOf(this.world, open.place, open.what);
    }
    const followLast = (flags & AT_SYMLINK_NOFOLLOW) === 0;
    const from = open?.place ?? topOf(this.world);
    const place = this.#walk(path, { call: "statx", from, followLast });
    return statusOf(this.world, place, null, path);
  }

  readDirectory(fd: number, atLeast = Number.POSITIVE_INFINITY): string[] {
    const { what, place } = this.file(fd, "getdents64");
    if (what.kind !== "directory") this.#fail("getdents64", Errno.ENOTDIR);
    const { filesystem } = place.mount;
    if (filesystem === "sys") return sysNames(this.world, place.path);
    return namesIn(this.world.treeOf(filesystem), place.path).slice(0, atLeast);
  }

  readlink(path: string): string {
    const fd = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
    if (fd !== null) {
      const open = this.process.files.get(Number(fd[1]));
      return open === undefined ? this.#fail("readlink", Errno.ENOENT, path) : pathText(open.place);
    }
    const place = this.#walk(path, { call: "readlink", followLast: false });
    const entry = entryAt(this.world, place) ?? this.#fail("readlink", Errno.ENOENT, path);
    return entry.kind === "symlink" ? entry.target : this.#fail("readlink", Errno.EINVAL, path);
  }

  mkdirat(fd: number, name: string, mode: number): void {
    const { world } = this;
    const from = fd === AT_FDCWD ? topOf(world) : this.file(fd, "mkdirat").place;
    const place = this.#walk(name, { call: "mkdirat", from, followLast: false });
    if (entryAt(world, place) !== undefined) this.#fail("mkdirat", Errno.EEXIST, name);
    const { filesystem } = place.mount;
    if (filesystem === "proc" || filesystem === "sys") this.#fail("mkdirat", Errno.EPERM, name);
    if (world.isReadOnlyAt(filesystem, place.path)) this.#fail("mkdirat", Errno.EROFS, name);
    const above = entryAt(world, { ...place, path: parentOf(place.path) });
    // A directory takes the NOCOW flag from the one it is made in.
    const flags = above?.kind === "directory" ? above.flags : 0;
    const made = directory(world.id(), { mode: mode & ~this.process.umask, flags });
    world.setEntry(filesystem, place.path, made);
    world.effect({ kind: "mkdir", filesystem, path: place.path });
  }

  chmod(path: string, mode: number): void {
    const { world } = this;
    const place = this.#walk(path, { call: "chmod", followLast: true });
    const entry = entryAt(world, place) ?? this.#fail("chmod", Errno.ENOENT, path);
    if (entry.kind !== "directory") throw new SystemError("chmod", Errno.EPERM, path);
    world.setEntry(place.mount.filesystem, place.path, { ...entry, mode });
    world.effect({ kind: "chmod", path: pathText(place) });
  }

  unlink(path: string): void {
    const { world } = this;
    const place = this.#walk(path, { call: "unlink", followLast: false });
    const entry = entryAt(world, place) ?? this.#fail("unlink", Errno.ENOENT, path);
    const image = entry.kind === "image" ? world.images.get(entry.image) : undefined;
    if (image === undefined) throw new SystemError("unlink", Errno.EPERM, path);
    image.linkCount = 0;
    const { filesystem } = place.mount;
    world.setTree(filesystem, withoutEntry(world.treeOf(filesystem), place.path));
    world.effect({ kind: "unlink", path });
  }

  umask(mask: number): number {
    const before = this.process.umask;
    this.process.umask = mask;
    return before;
  }

  pageBytes(): number {
    return 4096;
  }

  haveSameFiles(thread: number, other: number): boolean {
    return thread === other;
  }

  geteuid(): number {
    return 0;
  }

  ioctl(fd: number, request: number, argument: Uint8Array | number): number {
    return simulatedIoctl(this, this.file(fd, "ioctl"), request, argument);
  }

  /** A file as /proc/locks names it. */
  #lockKey(fd: number, call: string): string {
    const { place, what } = this.file(fd, call);
    const { device, inode } = statusOf(this.world, place, what);
    const hex = device.split(":").map((part) => Number(part).toString(16).padStart(2, "0"));
    return `${hex.join(":")}:${inode}`;
  }

  fcntl(fd: number, command: number, argument: Uint8Array | number): number {
    // A lease, which nobody is in the way of.
    if (typeof argument === "number") return 0;
    const { description } = this.file(fd, "fcntl");
    const asked = { file: this.#lockKey(fd, "fcntl"), description };
    return simulatedFcntl(this.world, asked, command, argument);
  }

  fstatfs(fd: number): FilesystemSpace {
    this.file(fd, "fstatfs");
    return { totalBytes: 2 ** 50, availableBytes: 2 ** 49, magic: 0, firstIdWord: 0 };
  }

  tryLock(fd: number): boolean {
    const { description } = this.file(fd, "flock");
    const key = this.#lockKey(fd, "flock");
    const owner = this.world.locks.get(key);
    if (owner !== undefined && owner !== description) return false;
    this.world.locks.set(key, description);
    return true;
  }

  mount(source: string, target: string, type: string, flags: number, data: string): void {
    const place = this.#walk(target, { call: "mount", followLast: true });
    if (type !== "btrfs") this.#fail("mount", Errno.ENODEV, source);
    this.world.btrfsLoaded = true;
    const node = this.#walk(source, { call: "mount", followLast: true });
    const entry = entryAt(this.world, node) ?? this.#fail("mount", Errno.ENOENT, source);
    if (entry.kind !== "block") throw new SystemError("mount", Errno.ENOTBLK, source);
    const name = nameOfDevice(this.world, entry.device) ?? this.#fail("mount", Errno.ENXIO, source);
    mountFilesystem(this.world, { name, source, place, flags, data });
  }

  unmount(target: string, flags: number): void {
    const place = this.#walk(target, { call: "umount2", followLast: false });
    const isOpen = [...this.process.files.values()].some(
      (open) => open.place.mount.id === place.mount.id && open.what.kind !== "path",
    );
    unmountFilesystem(this.world, place, target, flags, isOpen);
  }

  /** A kernel before 6.8, which looks at the options only when it mounts. */
  fsopen(type: string): number {
    return this.#fail("fsopen", Errno.ENOSYS, type);
  }

  fsconfig(_context: number, name: string): void {
    this.#fail("fsconfig", Errno.EBADF, name);
  }

  openUevents(): number {
    return this.#add("uevents", topOf(this.world), 0, { kind: "events" });
  }

  openInotify(): number {
    return this.#add("inotify", topOf(this.world), 0, { kind: "events" });
  }

  watchDirectory(_inotify: number, path: string, _mask: number): void {
    const place = this.#walk(path, { call: "inotify_add_watch", followLast: true });
    if (entryAt(this.world, place)?.kind !== "directory") {
      this.#fail("inotify_add_watch", Errno.ENOENT, path);
    }
  }

  waitReadable(_fds: readonly number[], timeoutMs: number): boolean {
    return this.world.passTime(timeoutMs);
  }

  waitWritable(): boolean {
    return true;
  }

  run(program: string, args: readonly string[], inherited: readonly number[]): ProgramResult {
    if (nameOf(program) !== "mkfs.btrfs") return this.#fail("run", Errno.ENOENT, program);
    const fault = this.mkfsFault;
    this.mkfsFault = null;
    return runMkfs(this, args, inherited, fault);
  }

  ask(): string | null {
    return null;
  }

  askAbout(): string | null {
    return null;
  }

  uninterrupted<T>(work: () => T): T {
    return work();
  }

  nowMs(): number {
    this.world.nowMs += 0.01;
    return this.world.nowMs;
  }

  randomId(): Uint8Array {
    return this.world.random.bytes(16);
  }
}
