import { directory, type Entry } from "./tree.ts";
import type { World } from "./world.ts";

const file = (text: string): Entry => ({ kind: "file", mode: 0o444, text: `${text}\n` });
const folder = directory(1);

const loopDevices: ReadonlyMap<string, string> = new Map(
  Array.from({ length: 8 }, (_, i) => [`loop${i}`, `7:${i}`]),
);

/** Block devices by name, with their numbers. */
function blockDevices(world: World): ReadonlyMap<string, string> {
  const found = new Map(loopDevices);
  for (const { name, device } of world.disks.values()) found.set(name, device);
  return found;
}

/** The kernel's name of a block device. */
export function nameOfDevice(world: World, device: string): string | null {
  for (const [name, number] of blockDevices(world)) if (number === device) return name;
  return null;
}

/** /sys as far as the program reads it (Documentation/ABI). */
export function sysEntry(world: World, path: string): Entry | undefined {
  const [, area, ...rest] = path.split("/");
  if (area === undefined) return folder;
  if (area === "kernel") return rest.length === 0 ? folder : undefined;
  if (area === "fs") return fsEntry(world, rest);
  if (area === "block" || area === "class") {
    return blockEntry(world, area === "class" ? rest.slice(1) : rest);
  }
  if (area === "dev") {
    const name = rest.length === 2 ? nameOfDevice(world, rest[1] ?? "") : null;
    if (rest.length < 2) return folder;
    return name === null ? undefined : { kind: "symlink", target: `../../block/${name}` };
  }
  return undefined;
}

function fsEntry(world: World, [btrfs, uuid, part, name, ...more]: readonly string[]) {
  if (btrfs === undefined) return folder;
  if (btrfs !== "btrfs" || !world.btrfsLoaded || more.length > 0) return undefined;
  if (uuid === undefined) return folder;
  if (uuid === "features") return part === undefined ? folder : undefined;
  const filesystem = world.filesystems.get(uuid);
  if (filesystem === undefined) return undefined;
  if (part === undefined) return folder;
  if (part !== "devices") return undefined;
  return name === undefined || name === filesystem.deviceName ? folder : undefined;
}

function blockEntry(world: World, [name, part, leaf]: readonly string[]): Entry | undefined {
  if (name === undefined) return folder;
  if (!blockDevices(world).has(name)) return undefined;
  if (part === undefined) return folder;
  if (part === "size") return file(String((world.storageOf(name)?.sizeBytes ?? 0) / 512));
  const loop = world.loops.get(name);
  if (part === "loop" && loop !== undefined) {
    if (leaf === undefined) return folder;
    return leaf === "backing_file" ? file(loop.path) : undefined;
  }
  const serial = world.disks.get(name)?.serial ?? null;
  return part === "serial" && serial !== null ? file(serial) : undefined;
}

/** The names in a folder of /sys. */
export function sysNames(world: World, path: string): string[] {
  if (path === "/block" || path === "/class/block") return [...blockDevices(world).keys()];
  if (path === "/fs/btrfs") return ["features", ...world.filesystems.keys()];
  if (path === "/fs/btrfs/features")
    return ["no_holes", "simple_quota", "metadata_uuid", "extent_tree_v2"];
  const devices = /^\/fs\/btrfs\/([^/]+)\/devices$/.exec(path);
  const filesystem = world.filesystems.get(devices?.[1] ?? "");
  return filesystem === undefined ? [] : [filesystem.deviceName];
}
