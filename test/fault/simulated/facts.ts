import { isChecksumRight, superblockMagic } from "../../../src/btrfs/superblock.ts";
import { SystemError } from "../../../src/linux/errno.ts";
import { utf8 } from "../../../src/linux/text.ts";
import type { StepName } from "../../../src/volume/report.ts";
import { readCopy, readTree } from "../../kit/simulated/btrfs.ts";
import type { Storage } from "../../kit/simulated/storage.ts";
import { type Entry, parentOf, type Tree } from "../../kit/simulated/tree.ts";
import type { World } from "../../kit/simulated/world.ts";
import { mirrorPlaces } from "./content.ts";
import { FS_NOCOW_FL, nocowPaths, plainPaths, subvolumeNames } from "./inside.ts";
import type { Scene } from "./scene.ts";

/** The bytes of the disk, whether it is attached or still a file. */
export function storageOf(world: World, { device, imagePath }: Scene): Storage | null {
  const attached = world.storageOf(device);
  if (attached !== null || imagePath === null)
    return attached ?? world.arrivals[0]?.disk.storage ?? null;
  const entry = world.treeOf("root").get(imagePath);
  return entry?.kind === "image" ? (world.images.get(entry.image)?.storage ?? null) : null;
}

const primary = 64 * 1024;

interface Found {
  readonly fsid: string;
  readonly tree: Tree;
  readonly bytes: number;
}

/** The tree on an unmounted disk as a rescuer would find it, by any copy of the superblock. */
function rescued(storage: Storage): Found | null {
  for (const place of [primary, ...mirrorPlaces]) {
    const copy = readCopy(storage, place);
    const isWiped = copy.magic === 0n;
    if (copy.address !== BigInt(place) || !(isWiped || copy.magic === superblockMagic)) continue;
    // A wipe leaves the checksum that the block has with its magic.
    if (!isWiped && !isChecksumRight(copy)) continue;
    try {
      const { fsid, deviceBytes } = copy;
      return { fsid, tree: readTree(storage, copy), bytes: Number(deviceBytes) };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
  }
  return null;
}

/** What the filesystem holds, mounted or not; null when there is none. */
export function filesystemOf(world: World, scene: Scene): Found | null {
  const mounted = world.filesystemOn(scene.device);
  if (mounted !== null) return mounted;
  const storage = storageOf(world, scene);
  return storage === null ? null : rescued(storage);
}

/** True when others than root may look into the directory of the whole filesystem's mount. */
function isOpenToAll(world: World, { targets }: Scene): boolean {
  const holder = world.treeOf("root").get(parentOf(targets[0]?.path ?? ""));
  return holder?.kind === "directory" && (holder.mode & 0o077) !== 0;
}

/** True of a subvolume in which nothing can be saved. */
function isLocked(tree: Tree, name: string): boolean {
  const entry = tree.get(`/${name}`);
  return entry?.kind === "directory" && entry.readOnly === true;
}

/** What each step of the report is about, as it is in this world. */
export function facets(world: World, scene: Scene): Partial<Record<StepName, string>> {
  const [whole, ...subvolumes] = scene.targets;
  const ours = world.filesystemOn(scene.device)?.fsid;
  const mountsAt = (paths: readonly string[]): string =>
    world.mounts
      .filter(({ point, filesystem }) => filesystem === ours && paths.includes(point))
      .map(({ point, root }) => `${root} on ${point}`)
      .join();
  const found = filesystemOf(world, scene);
  const tree = found?.tree ?? new Map();
  return {
    filesystem: found?.fsid ?? "",
    device: JSON.stringify([
      [...world.images.values()]
        .filter(({ linkCount }) => linkCount > 0)
        .map(({ storage }) => storage.sizeBytes),
      [...world.loops.values()].map(({ name, path, storage }) => [name, path, storage.sizeBytes]),
    ]),
    mount: JSON.stringify([
      mountsAt(whole === undefined ? [] : [whole.path]),
      isOpenToAll(world, scene),
    ]),
    ...(found === null ? {} : { capacity: String(found.bytes) }),
    subvolumes: subvolumeNames
      .filter((name) => tree.has(`/${name}`))
      .map((name) => `${name} ${isLocked(tree, name) ? "read-only" : "writable"}`)
      .join(),
    mountpoints: mountsAt(subvolumes.map(({ path }) => path)),
    nocow: JSON.stringify([...tree].filter(([path]) => path.split("/").length > 2)),
  };
}

const recordMagic = utf8("arcbox-format-v1");

/** True when a record of a format stands anywhere on the disk. */
export function hasRecord(storage: Storage): boolean {
  for (const block of storage.content().values()) {
    if (Buffer.from(block).indexOf(recordMagic) === 32) return true;
  }
  return false;
}

const isFlagged = (entry: Entry | undefined): boolean =>
  (entry?.kind === "directory" || entry?.kind === "file") &&
  ((entry.flags ?? 0) & FS_NOCOW_FL) !== 0;

/** How many of the directories that must not be copied on write are flagged so. */
export function flaggedCount(world: World, scene: Scene): number {
  const tree = filesystemOf(world, scene)?.tree;
  return nocowPaths.filter((path) => isFlagged(tree?.get(path))).length;
}

/** Everything the contract wants that is not so; what a note may excuse is left to `excused`. */
export function lacking(world: World, scene: Scene, excused: readonly string[] = []): string[] {
  const missing: string[] = [];
  const filesystem = world.filesystemOn(scene.device);
  if (filesystem === null) return ["it is not mounted"];
  for (const { subvolume, path } of scene.targets) {
    const uppermost = world.mounts.findLast(({ point }) => point === path);
    const root = subvolume === "" ? "" : `/${subvolume}`;
    if (uppermost?.filesystem !== filesystem.fsid || uppermost.root !== root) {
      missing.push(`${path} does not have ${root} mounted`);
    }
    if (uppermost !== undefined && !uppermost.options.includes("noatime")) {
      missing.push(`${path} has access times`);
    }
  }
  for (const name of subvolumeNames) {
    const entry = filesystem.tree.get(`/${name}`);
    const isReceived = entry?.kind === "directory" && entry.isReceived === true;
    const isNamed = excused.some((note) => note.includes(`${name} is read-only`));
    if (isLocked(filesystem.tree, name) && !isReceived && !isNamed) {
      missing.push(`${name} is read-only`);
    }
  }
  for (const path of nocowPaths) {
    const isExcused =
      isLocked(filesystem.tree, path.split("/")[1] ?? "") ||
      excused.some((note) => note.includes(path.slice(1)));
    const entry = filesystem.tree.get(path);
    // A file that holds something cannot get the flag.
    const isFull = entry?.kind === "file" && entry.text !== "";
    if (!isFlagged(entry) && !isFull && !isExcused) missing.push(`${path} is not NOCOW`);
  }
  for (const path of plainPaths) {
    const isExcused =
      isLocked(filesystem.tree, path.split("/")[1] ?? "") ||
      excused.some((note) => note.includes(path.slice(1)));
    if (isFlagged(filesystem.tree.get(path)) && !isExcused) missing.push(`${path} is NOCOW`);
  }
  if (isOpenToAll(world, scene)) {
    if (!excused.some((note) => note.includes("stays open"))) missing.push("it is open to all");
  }
  const storage = storageOf(world, scene);
  if (storage === null) return [...missing, "there is no disk"];
  const bytes = storage.sizeBytes - (storage.sizeBytes % 4096);
  const couldGrow = bytes >= 256 * 1024 * 1024;
  const isGrowthExcused = excused.some((note) => note.includes("could not grow"));
  if (filesystem.bytes !== bytes && couldGrow && !isGrowthExcused) missing.push("it did not grow");
  if (hasRecord(storage) && !storage.bad.size) missing.push("the record of a format is left");
  return missing;
}
