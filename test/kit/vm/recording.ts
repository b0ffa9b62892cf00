import { succeeds } from "../agent.ts";
import { copySparse, flipByte, GiB, resize } from "../image.ts";
import type { Sandbox } from "../sandbox.ts";
import { at, PRIMARY } from "../superblock.ts";
import { preparedDisk } from "../volume.ts";
import { Guest } from "./guest.ts";
import { entryCount } from "./write-log.ts";

/** What a guest did to a disk, from its first state on. */
export interface Recording {
  readonly before: string;
  readonly log: string;
  readonly synced: readonly SyncedFile[];
}

export interface SyncedFile {
  /** Below the root of the volume's mount points. */
  readonly path: string;
  readonly content: string;
  /** The log had so many entries when fsync(2) had returned in the guest. */
  readonly entries: number;
}

/** Folders with copy-on-write and without. */
const FOLDERS = ["var/lib/docker", "var/lib/docker/containerd", "var/lib/kubelet"] as const;
const FILES = 9;
const COMMIT_EVERY = 4;

/** Files that a guest writes and syncs one after another, with a commit of everything now and then. */
async function writeFiles(guest: Guest, root: string, log: string): Promise<readonly SyncedFile[]> {
  const files: SyncedFile[] = [];
  for (let number = 0; number < FILES; number += 1) {
    const path = `${FOLDERS[number % FOLDERS.length]}/file${number}`;
    const line = `file ${number}`;
    const lineCount = 1 + 700 * number;
    const source = `yes '${line}' | head -n ${lineCount}`;
    await guest.output(
      `${source} | dd of=${root}/${path} bs=64k iflag=fullblock conv=fsync 2>/dev/null`,
    );
    files.push({ path, content: `${line}\n`.repeat(lineCount), entries: entryCount(log) });
    if (number % COMMIT_EVERY === COMMIT_EVERY - 1) await guest.output("sync");
  }
  return files;
}

async function preparedImage(box: Sandbox): Promise<string> {
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  return image;
}

export const scenes = ["a first boot", "growth", "a repair", "the writing of files"] as const;
export type Scene = (typeof scenes)[number];

/** One guest goes through all the scenes, each on a disk of its own. */
export async function record(box: Sandbox): Promise<ReadonlyMap<Scene, Recording>> {
  const images: Readonly<Record<Scene, string>> = {
    "a first boot": box.image(GiB),
    growth: await preparedImage(box),
    "a repair": await preparedImage(box),
    "the writing of files": await preparedImage(box),
  };
  resize(images.growth, 2 * GiB);
  flipByte(images["a repair"], PRIMARY + at.label);

  const disks = scenes.map((scene) => {
    const before = `${images[scene]}.before`;
    copySparse(images[scene], before);
    return { scene, before, image: images[scene], writeLog: box.image(0) };
  });
  const guest = await Guest.boot(box, disks);
  const recordings = new Map<Scene, Recording>();
  for (const [index, { scene, before, writeLog: log }] of disks.entries()) {
    const root = `/root${index}`;
    const disk = ["--device", `/dev/vd${"bcde"[index]}`, "--root", root];
    await succeeds(guest.volume("up", ...disk));
    const isWriting = scene === "the writing of files";
    const synced = isWriting ? await writeFiles(guest, root, log) : [];
    await succeeds(guest.volume("down", ...disk));
    recordings.set(scene, { before, log, synced });
  }
  await guest.cut();
  return recordings;
}
