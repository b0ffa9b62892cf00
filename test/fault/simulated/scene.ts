import type { ErrorCode } from "../../../src/volume/error.ts";
import { defaultLayout } from "../../../src/volume/layout.ts";
import type { VolumeOptions } from "../../../src/volume/options.ts";
import { SimulatedKernel } from "../../kit/simulated/kernel.ts";
import { addMount } from "../../kit/simulated/mounts.ts";
import { topOf } from "../../kit/simulated/paths.ts";
import { Storage } from "../../kit/simulated/storage.ts";
import { directory, withDirectories } from "../../kit/simulated/tree.ts";
import { addDisk, addImage, addLoop, newWorld, type World } from "../../kit/simulated/world.ts";
import { GiB, paint } from "./content.ts";
import { type Action, actionOf, refusalsOf } from "./contract.ts";
import { treeOf } from "./inside.ts";
import type { Start } from "./start.ts";

/** A start as a world, with what must come of it by the contract. */
export interface Scene {
  readonly start: Start;
  readonly world: World;
  readonly options: VolumeOptions;
  /** The block device, once there is one. */
  readonly device: string;
  readonly imagePath: string | null;
  readonly targets: readonly { readonly subvolume: string; readonly path: string }[];
  readonly action: Action;
  /** The codes it may be refused with; none: it must come up. */
  readonly refusals: ReadonlySet<ErrorCode>;
}

const imagePath = "/srv/disk.img";
const elsewhere = "/mnt/elsewhere";

export function sceneOf(start: Start): Scene {
  const world = newWorld(start.seed);
  world.btrfsLoaded = start.btrfsLoaded;
  const root = start.root === "/" ? "" : start.root;
  const targets = [
    { subvolume: "", path: `${root}${defaultLayout.rawPath}` },
    ...defaultLayout.entries.map(({ subvolume, path }) => ({ subvolume, path: `${root}${path}` })),
  ];
  if (root === "/srv/there") {
    world.trees.set("root", withDirectories(world.treeOf("root"), [root]));
  }
  if (!start.hasMkfs) {
    const tree = new Map(world.treeOf("root"));
    tree.delete("/usr/sbin/mkfs.btrfs");
    world.trees.set("root", tree);
  }
  const device = start.source === "device" ? "vdb" : "loop0";
  makeDisk(world, start);
  if (start.verdict === "mounted") mountSome(world, start, targets, device);
  const occupied = putLeftovers(world, start, targets);
  world.effects.length = 0;
  return {
    start,
    world,
    options: optionsOf(world, start),
    device,
    imagePath: start.source === "device" ? null : imagePath,
    targets,
    action: actionOf(start),
    refusals: refusalsOf(start, occupied),
  };
}

function makeDisk(world: World, start: Start): void {
  const storage = new Storage(start.sizeBytes);
  const whole = start.sizeBytes - (start.sizeBytes % 4096);
  const least = start.sizeBytes > 300 * GiB ? 200 * GiB : 114_294_784;
  const filesystemBytes = start.grown ? Math.min(least, whole) : whole;
  paint(storage, { ...start, filesystemBytes }, start.seed);
  if (start.source === "device") {
    const disk = {
      name: "vdb",
      device: "254:16",
      storage,
      readOnly: start.readOnlyDevice,
      serial: "data-disk",
    };
    if (start.late) world.arrivals = [{ atMs: world.nowMs + 700, disk }];
    else addDisk(world, disk);
  } else if (!start.isMissing) {
    addImage(world, imagePath, storage);
    if (start.source === "attached") addLoop(world, "loop0", imagePath, 1);
  }
}

/** An earlier run, or somebody else, mounted these. */
function mountSome(world: World, start: Start, targets: Scene["targets"], device: string): void {
  const kernel = new SimulatedKernel(world);
  const tree = treeOf(start.inside);
  const due = targets.filter(
    ({ subvolume }, i) =>
      start.mounted[i] === true &&
      (subvolume === "" ||
        (tree.get(`/${subvolume}`)?.kind === "directory" && hasSubvolume(tree, subvolume))),
  );
  const points = [elsewhere, ...due.map(({ path }) => path)];
  world.trees.set("root", withDirectories(world.treeOf("root"), points));
  // Without any of its own it is mounted somewhere else.
  if (due.length === 0) kernel.mount(`/dev/${device}`, elsewhere, "btrfs", 1024, "subvolid=5");
  for (const { subvolume, path } of due) {
    kernel.mount(`/dev/${device}`, path, "btrfs", 1024, `subvol=${subvolume}`);
  }
  for (const filesystem of world.filesystems.values()) filesystem.readOnly = start.readOnlyMount;
}

function hasSubvolume(tree: ReturnType<typeof treeOf>, name: string): boolean {
  const entry = tree.get(`/${name}`);
  return entry?.kind === "directory" && entry.subvolume !== undefined;
}

const isFree = (world: World, path: string): boolean =>
  !world.mounts.some(({ point }) => point === path);

/** True when one of them is in the way. */
function putLeftovers(world: World, start: Start, targets: Scene["targets"]): boolean {
  const [filesystem] = world.filesystems.values();
  let occupied = false;
  for (const [i, { path }] of targets.entries()) {
    const what = start.targets[i] ?? "missing";
    if (what === "missing" || !isFree(world, path)) continue;
    occupied ||= what !== "empty" && !(what === "full" && start.cover);
    const parent = path.slice(0, path.lastIndexOf("/"));
    const isFolder = what !== "symlink" && what !== "file";
    world.trees.set("root", withDirectories(world.treeOf("root"), [isFolder ? path : parent]));
    if (what === "symlink") world.setEntry("root", path, { kind: "symlink", target: "/mnt" });
    const file = { kind: "file", mode: 0o600, text: "a daemon's" } as const;
    if (what === "file") world.setEntry("root", path, file);
    if (what === "full") world.setEntry("root", `${path}/file`, file);
    const place = { mount: topOf(world).mount, path };
    if (what === "tmpfs") {
      const name = `tmpfs:${i}`;
      world.trees.set(name, new Map([["", directory(1)]]));
      addMount(world, place, name, "", "tmpfs");
    }
    if (what === "other" && filesystem !== undefined) {
      world.setEntry(filesystem.fsid, "/other", directory(256, { subvolume: 999 }));
      const storage = world.storageOf(filesystem.deviceName);
      if (storage !== null) filesystem.commit(storage);
      addMount(world, place, filesystem.fsid, "/other", "/dev/vdb");
    }
  }
  return occupied;
}

function optionsOf(world: World, start: Start): VolumeOptions {
  if (start.formatByCmdline) world.cmdline += ` arcbox.data_format=${start.format}`;
  if (start.chosenBy === "cmdline") world.cmdline += " arcbox.docker_data_device=/dev/vdb";
  const device = {
    path: "/dev/vdb",
    cmdline: undefined,
    default: undefined,
    serial: "serial=data-disk",
    label: "label=arcbox-data",
  }[start.chosenBy];
  const isImage = start.source !== "device";
  const sizeBytes = start.growImage
    ? start.sizeBytes * 2
    : start.isMissing
      ? start.sizeBytes
      : undefined;
  return {
    ...(device === undefined || isImage ? {} : { device }),
    ...(isImage ? { image: imagePath } : {}),
    ...(isImage && sizeBytes !== undefined ? { sizeBytes } : {}),
    ...(start.root === "/" ? {} : { root: start.root }),
    ...(start.format === null || start.formatByCmdline ? {} : { format: start.format }),
    ...(start.repair === null ? {} : { repair: start.repair }),
    cover: start.cover,
  };
}
