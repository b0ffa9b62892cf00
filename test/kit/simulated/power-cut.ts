import { Random } from "./random.ts";
import { baseMounts, type World } from "./world.ts";

/**
 * The power fails and comes back. Gone are mounts, loop devices, locks; of what was not flushed each
 * block is there, torn or not there; a Btrfs is as it was after any of the changes since its last commit.
 */
export function powerCut(world: World, seed: number): World {
  const after = world.clone();
  const random = new Random(seed);
  for (const filesystem of after.filesystems.values()) {
    const storage = after.storageOf(filesystem.deviceName);
    const version = random.below(filesystem.versions.length);
    if (storage !== null && version > 0) filesystem.commit(storage, filesystem.versions[version]);
  }
  after.filesystems.clear();
  after.mounts = baseMounts;
  for (const disk of after.disks.values()) disk.storage.loseUnflushed(random);
  for (const [number, image] of after.images) {
    const isKept = random.below(2) === 0;
    const bytes = isKept ? image.storage.sizeBytes : image.durableBytes;
    image.storage.loseUnflushed(random);
    if (bytes !== null) image.storage.resize(bytes);
    else forgetImage(after, number);
  }
  for (const loop of after.loops.values()) {
    if (after.images.has(loop.image)) loop.storage.loseUnflushed(random);
  }
  for (const image of after.images.values()) image.storage.resize(image.storage.sizeBytes);
  after.loops.clear();
  after.locks.clear();
  after.rangeLocks = [];
  for (const name of [...after.trees.keys()]) if (name !== "root") after.trees.delete(name);
  after.nowMs = 1000;
  return after;
}

function forgetImage(world: World, number: number): void {
  world.images.delete(number);
  const left = [...world.treeOf("root")].filter(
    ([, entry]) => entry.kind !== "image" || entry.image !== number,
  );
  world.trees.set("root", new Map(left));
}
