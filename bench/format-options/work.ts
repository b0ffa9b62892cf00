/** What a container host does, measured on a volume of one node size. */
import { mkdirSync } from "node:fs";
import { command } from "../../test/kit/command.ts";
import { MiB } from "../../test/kit/image.ts";
import { median } from "../sample.ts";
import type { Volume } from "./volume.ts";

const transactions = 1000;
const treeFiles = 100_000;
const snapshots = 20;
const manyFiles = 1_000_000;
const mounts = 5;

/** Lower is better in all of them. */
export const metrics = {
  boltBytes: "BoltDB commits in a NOCOW directory: bytes at the disk for each written",
  boltMs: "BoltDB commits in a NOCOW directory: ms each",
  cowBoltBytes: "BoltDB commits with copy-on-write: bytes at the disk for each written",
  unpackSeconds: "unpacking 100,000 files: s",
  unpackMib: "unpacking 100,000 files: MiB written",
  treeMetadataMib: "metadata of 100,000 files: MiB (one of two copies)",
  walkSeconds: "looking at 100,000 files after a mount: s",
  walkReads: "looking at 100,000 files after a mount: reads",
  removeSeconds: "deleting 100,000 files: s",
  removeMib: "deleting 100,000 files: MiB written",
  snapshotsSeconds: "20 snapshots, 700 files changed after each: s",
  snapshotsMib: "20 snapshots, 700 files changed after each: MiB written",
  snapshotsMetadataMib: "metadata of that and its 100,000 files: MiB (one of two copies)",
  manyMountMs: "mounting a volume of 1,000,000 files: ms",
  manyMetadataMib: "metadata of 1,000,000 files of 64 bytes: MiB (one of two copies)",
  manyWalkSeconds: "looking at 1,000,000 files after a mount: s",
} as const;
export type Metric = keyof typeof metrics;
export type Measured = Partial<Record<Metric, number>>;

function bolt(volume: Volume, folder: string): { bytes: number; ms: number } {
  const file = volume.path(folder, "bolt.db");
  volume.work("file", file);
  const { printed, seconds, writtenMib } = volume.work("bolt", file, String(transactions));
  return { bytes: (writtenMib * MiB) / printed, ms: (seconds * 1000) / transactions };
}

/** Everything but what needs a million files. */
export function measureWork(volume: Volume): Measured {
  volume.format();
  for (const folder of ["nocow", "cow", "snapshots"]) mkdirSync(volume.path(folder));
  command("chattr", "+C", volume.path("nocow"));
  const [nocow, cow] = [bolt(volume, "nocow"), bolt(volume, "cow")];

  volume.format();
  command("btrfs", "subvolume", "create", volume.path("live"));
  mkdirSync(volume.path("snapshots"));
  const tree = volume.path("live/tree");
  const unpack = volume.work("tree", tree, String(treeFiles));
  const treeMetadataMib = volume.metadataMib();
  volume.remount();
  const walk = volume.work("walk", tree);
  const remove = volume.work("remove", tree);

  volume.work("tree", tree, String(treeFiles));
  let snapshotsSeconds = 0;
  let snapshotsMib = 0;
  for (let i = 0; i < snapshots; i++) {
    const taken = volume.work(
      "snapshot",
      volume.path("live"),
      volume.path("snapshots"),
      `${i}`,
      "1",
    );
    const changed = volume.work("change", tree, String(treeFiles), `${i}`);
    snapshotsSeconds += taken.seconds + changed.seconds;
    snapshotsMib += taken.writtenMib + changed.writtenMib;
  }
  const snapshotsMetadataMib = volume.metadataMib();
  volume.disk.unmount();
  return {
    boltBytes: nocow.bytes,
    boltMs: nocow.ms,
    cowBoltBytes: cow.bytes,
    unpackSeconds: unpack.seconds,
    unpackMib: unpack.writtenMib,
    treeMetadataMib,
    walkSeconds: walk.seconds,
    walkReads: walk.reads,
    removeSeconds: remove.seconds,
    removeMib: remove.writtenMib,
    snapshotsSeconds,
    snapshotsMib,
    snapshotsMetadataMib,
  };
}

export function fillWithMany(volume: Volume): number {
  volume.format();
  volume.work("tiny", volume.path("tiny"), String(manyFiles));
  return volume.metadataMib();
}

/** Of a volume that `fillWithMany` has filled. */
export function measureMany(volume: Volume): Measured {
  const manyMountMs = median(Array.from({ length: mounts }, () => volume.remount()));
  return { manyMountMs, manyWalkSeconds: volume.work("walk", volume.path("tiny")).seconds };
}
