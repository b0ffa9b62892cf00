import { Filesystem } from "./btrfs.ts";
import { Random } from "./random.ts";
import { Storage } from "./storage.ts";
import { type Entry, type Tree, withDirectories, withEntry } from "./tree.ts";

/** A whole disk. */
export interface Disk {
  readonly name: string;
  /** "major:minor" */
  readonly device: string;
  readonly storage: Storage;
  readonly readOnly: boolean;
  readonly serial: string | null;
}

/** A loop device that shows a file. */
export interface Loop {
  readonly name: string;
  readonly image: number;
  readonly path: string;
  /** Its cache over the file. */
  readonly storage: Storage;
  /** The open file description that it keeps, and with it a lock. */
  readonly description: number;
}

/** A file that is used as a disk. */
export interface Image {
  readonly storage: Storage;
  linkCount: number;
  /** Its name and its size as a power cut would leave them; null while the name is not on the disk. */
  durableBytes: number | null;
}

export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** Where it is, as the mount table says it, and as a path in the filesystem of the parent mount. */
  readonly point: string;
  readonly at: string;
  /** "root", "proc", "sys", "tmpfs:1" or the UUID of a Btrfs. */
  readonly filesystem: string;
  /** What of the filesystem is shown: "" or "/@docker". */
  readonly root: string;
  readonly source: string;
  readonly options: string;
}

/** A lock of an open file description on some bytes of a file; `end` null: on all behind `start`. */
export interface RangeLock {
  readonly file: string;
  readonly description: number;
  readonly start: bigint;
  readonly end: bigint | null;
  readonly isExclusive: boolean;
}

/** Something that changed, in the order in which it happened. */
export type Effect =
  | { readonly kind: "create" | "unlink" | "truncate" | "chmod"; readonly path: string }
  | { readonly kind: "attach" | "detach" | "refresh"; readonly loop: string }
  | {
      readonly kind: "write";
      readonly by: "program" | "mkfs";
      readonly device: string;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: "flush"; readonly device: string }
  | { readonly kind: "mkfs"; readonly device: string }
  | {
      readonly kind: "mkdir" | "subvolume" | "flags";
      readonly filesystem: string;
      readonly path: string;
    }
  | { readonly kind: "resize"; readonly filesystem: string }
  | { readonly kind: "mount" | "unmount"; readonly point: string };

/** A disk that is plugged in later. */
interface Arrival {
  readonly atMs: number;
  readonly disk: Disk;
}

/** Everything that there is but the process; it lives on when a process dies. */
export class World {
  readonly disks = new Map<string, Disk>();
  readonly loops = new Map<string, Loop>();
  readonly images = new Map<number, Image>();
  /** The trees of "root" and of each tmpfs. */
  readonly trees = new Map<string, Tree>();
  readonly filesystems = new Map<string, Filesystem>();
  mounts: readonly Mount[] = [];
  /** Which open file description has the flock of a file. */
  readonly locks = new Map<string, number>();
  rangeLocks: readonly RangeLock[] = [];
  cmdline = "quiet";
  btrfsLoaded = true;
  nowMs = 1000;
  arrivals: readonly Arrival[] = [];
  random: Random;
  nextId = 100;
  /** What happened in here, and who wants to know of each thing when it has happened. */
  readonly effects: Effect[] = [];
  onEffect: (() => void) | null = null;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  id(): number {
    this.nextId += 1;
    return this.nextId;
  }

  effect(effect: Effect): void {
    this.effects.push(effect);
    this.onEffect?.();
  }

  /** The bytes behind a block device; null when there is no medium. */
  storageOf(name: string): Storage | null {
    return this.disks.get(name)?.storage ?? this.loops.get(name)?.storage ?? null;
  }

  treeOf(filesystem: string): Tree {
    return this.trees.get(filesystem) ?? this.filesystems.get(filesystem)?.tree ?? new Map();
  }

  /** True when the filesystem is read-only, or the subvolume that the path is in. */
  isReadOnlyAt(filesystem: string, path: string): boolean {
    if (this.filesystems.get(filesystem)?.readOnly === true) return true;
    const subvolume = this.treeOf(filesystem).get(path.split("/").slice(0, 2).join("/"));
    return subvolume?.kind === "directory" && subvolume.readOnly === true;
  }

  setEntry(filesystem: string, path: string, entry: Entry): void {
    this.setTree(filesystem, withEntry(this.treeOf(filesystem), path, entry));
  }

  setTree(filesystem: string, tree: Tree): void {
    const btrfs = this.filesystems.get(filesystem);
    if (btrfs === undefined) this.trees.set(filesystem, tree);
    else btrfs.change(tree);
  }

  filesystemOn(deviceName: string): Filesystem | null {
    for (const one of this.filesystems.values()) if (one.deviceName === deviceName) return one;
    return null;
  }

  /** Lets time pass; true when a disk was plugged in meanwhile. */
  passTime(ms: number): boolean {
    const due = this.arrivals.find(({ atMs }) => atMs <= this.nowMs + ms);
    this.nowMs = due === undefined ? this.nowMs + ms : Math.max(this.nowMs, due.atMs);
    if (due === undefined) return false;
    this.arrivals = this.arrivals.filter((one) => one !== due);
    addDisk(this, { ...due.disk, storage: due.disk.storage.clone() });
    return true;
  }

  /** All of it once more; what happens to the copy leaves this one alone. */
  clone(): World {
    const copy = new World(0);
    copy.random = this.random.clone();
    for (const [key, disk] of this.disks) {
      copy.disks.set(key, { ...disk, storage: disk.storage.clone() });
    }
    for (const [key, image] of this.images) {
      copy.images.set(key, { ...image, storage: image.storage.clone() });
    }
    for (const [key, loop] of this.loops) {
      const below = copy.images.get(loop.image)?.storage ?? null;
      copy.loops.set(key, { ...loop, storage: loop.storage.clone(below) });
    }
    for (const [key, tree] of this.trees) copy.trees.set(key, tree);
    for (const [key, one] of this.filesystems) copy.filesystems.set(key, new Filesystem(one));
    for (const [key, owner] of this.locks) copy.locks.set(key, owner);
    copy.rangeLocks = this.rangeLocks;
    copy.mounts = this.mounts;
    copy.cmdline = this.cmdline;
    copy.btrfsLoaded = this.btrfsLoaded;
    copy.nowMs = this.nowMs;
    copy.arrivals = this.arrivals;
    copy.nextId = this.nextId;
    return copy;
  }
}

const loopCount = 8;

/** A machine without a data volume: a root filesystem, /proc, /sys, mkfs.btrfs and loop devices. */
export function newWorld(seed: number): World {
  const world = new World(seed);
  let tree = withDirectories(new Map<string, Entry>(), [
    "",
    "/proc",
    "/sys",
    "/dev",
    "/usr/sbin",
    "/var/lib",
    "/run",
    "/srv",
    "/mnt",
  ]);
  tree = withEntry(tree, "/usr/sbin/mkfs.btrfs", { kind: "file", mode: 0o755, text: "mkfs" });
  tree = withEntry(tree, "/dev/loop-control", { kind: "control" });
  for (let i = 0; i < loopCount; i++) {
    tree = withEntry(tree, `/dev/loop${i}`, { kind: "block", device: `7:${i}` });
  }
  world.trees.set("root", tree);
  world.mounts = baseMounts;
  return world;
}

/** What is mounted before anything is. */
export const baseMounts: readonly Mount[] = (
  [
    [1, 0, "/", "", "root"],
    [2, 1, "/proc", "/proc", "proc"],
    [3, 1, "/sys", "/sys", "sys"],
  ] as const
).map(([id, parentId, point, at, filesystem]) => ({
  id,
  parentId,
  point,
  at,
  filesystem,
  root: "",
  source: filesystem,
  options: "rw,relatime",
}));

/** Plugs a disk in. */
export function addDisk(world: World, disk: Disk): void {
  world.disks.set(disk.name, disk);
  world.setEntry("root", `/dev/${disk.name}`, { kind: "block", device: disk.device });
}

/** Puts a file there that is used as a disk, all of it on the disk already. */
export function addImage(world: World, path: string, storage: Storage): number {
  const image = world.id();
  world.images.set(image, { storage, linkCount: 1, durableBytes: storage.sizeBytes });
  world.setEntry("root", path, { kind: "image", image });
  return image;
}

/** Attaches a file to a loop device. */
export function addLoop(world: World, name: string, path: string, description: number): void {
  const entry = world.treeOf("root").get(path);
  const image = entry?.kind === "image" ? world.images.get(entry.image) : undefined;
  if (entry?.kind !== "image" || image === undefined) throw new Error(`${path} is no image`);
  const { sizeBytes } = image.storage;
  const storage = new Storage(sizeBytes - (sizeBytes % 512), image.storage);
  world.loops.set(name, { name, image: entry.image, path, storage, description });
}
