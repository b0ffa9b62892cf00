import { succeeds } from "../agent.ts";
import { copySparse } from "../image.ts";
import type { Sandbox } from "../sandbox.ts";
import { Guest } from "./guest.ts";
import type { GuestDisk } from "./qemu-arguments.ts";
import type { Scene } from "./scenes.ts";
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

/**
 * Files that a guest writes and syncs one after another, with a commit of everything now and then,
 * after which all free space is discarded.
 */
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
    const isCommit = number % COMMIT_EVERY === COMMIT_EVERY - 1;
    if (isCommit) await guest.output(`sync; fstrim ${root}/var/lib/docker`);
  }
  return files;
}

/** One guest goes through all the scenes, each on a disk of its own; by the name of the scene. */
export async function record(
  box: Sandbox,
  scenes: readonly Scene[],
): Promise<ReadonlyMap<string, Recording>> {
  const disks: (GuestDisk & { readonly before: string; readonly writeLog: string })[] = [];
  for (const scene of scenes) {
    const image = await scene.image(box);
    const before = `${image}.before`;
    copySparse(image, before);
    disks.push({ image, before, writeLog: box.image(0) });
  }
  const guest = await Guest.boot(box, disks);
  const recordings = new Map<string, Recording>();
  for (const [index, { before, writeLog: log }] of disks.entries()) {
    const { name = "", options = [], writesFiles } = scenes[index] ?? {};
    const root = `/root${index}`;
    const disk = ["--device", `/dev/vd${"bcdefgh"[index]}`, "--root", root];
    await succeeds(guest.volume("up", ...disk, ...options));
    const synced = writesFiles ? await writeFiles(guest, root, log) : [];
    await succeeds(guest.volume("down", ...disk));
    recordings.set(name, { before, log, synced });
  }
  await guest.cut();
  return recordings;
}
