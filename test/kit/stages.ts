import { rmSync } from "node:fs";
import { down, start, up } from "./agent.ts";
import type { Call } from "./calls.ts";
import { tryCommand } from "./command.ts";
import { copySparse, flipByte, MiB, resize } from "./image.ts";
import { dropCache } from "./libc.ts";
import { attachedLoops } from "./loops.ts";
import { mountsUnder } from "./mountinfo.ts";
import { replaceMkfs } from "./mkfs.ts";
import type { Sandbox } from "./sandbox.ts";
import { at, PRIMARY, superblockFacts } from "./superblock.ts";
import { ourMounts, writeMarker } from "./volume.ts";

/** A state of the world from which a command is run over and over, and each time put back. */
export interface Stage {
  readonly box: Sandbox;
  /** `--device …` or `--image …`. */
  readonly disk: readonly string[];
  /** The command line that is disturbed. */
  readonly argv: readonly string[];
  /** What `btrfs check` is to look at once the volume is down. */
  readonly file: string;
  /** The size that the filesystem has after a success. */
  readonly bytes: number;
  /** The volume that was there before, with a marker in it; null on a blank disk. */
  readonly uuid: string | null;
  /** What is there when the command starts. */
  readonly before: () => { readonly mounts: readonly string[]; readonly loops: number };
  readonly reset: () => Promise<void>;
  /** The device is the same in all runs, and the only one that is asked. */
  readonly hasOneDevice: boolean;
  /** False for a call that depends on what other programs do with their devices. */
  readonly isSteady: (call: Call) => boolean;
}

interface Setting {
  readonly content: "blank" | "prepared" | "interrupted";
  readonly command?: "down";
  /** Given with `--image`; otherwise it is a loop device. */
  readonly image?: "missing" | "there" | "attached";
  /** The disk, or the size asked for, is larger than the filesystem. */
  readonly larger?: true;
  readonly damaged?: true;
  readonly mounted?: "all" | "half";
}

/** Where `up` may start from. */
const settings = {
  "a blank disk": { content: "blank" },
  "a missing image": { content: "blank", image: "missing" },
  "a volume": { content: "prepared" },
  "a volume on a larger disk": { content: "prepared", larger: true },
  "an image that is to grow": { content: "prepared", image: "there", larger: true },
  "an attached image that is to grow": { content: "prepared", image: "attached", larger: true },
  "a damaged superblock": { content: "prepared", damaged: true },
  "a format that was cut short": { content: "interrupted" },
  "a volume that is up": { content: "prepared", mounted: "all" },
  "a volume of which half is mounted": { content: "prepared", mounted: "half" },
  "a mounted image that goes down": {
    content: "prepared",
    image: "attached",
    mounted: "all",
    command: "down",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type StageName = keyof typeof settings;
const namesOf = (table: Readonly<Record<StageName, Setting>>): readonly StageName[] =>
  Object.keys(table).filter((name): name is StageName => name in table);
const settingOf = (name: StageName): Setting => settings[name];

export const downStages = namesOf(settings).filter((name) => settingOf(name).command === "down");
export const upStages = namesOf(settings).filter((name) => !downStages.includes(name));

const SIZE = 256 * MiB;
const GROWN = 512 * MiB;

/** Unmounts what a run left, in the order that works. */
export function unmountAll(box: Sandbox): void {
  const paths = mountsUnder(box.root).map(({ path }) => path);
  if (paths.length > 0) tryCommand("umount", ...paths.reverse());
}

function detachAll(box: Sandbox): void {
  for (const device of attachedLoops(box.dir).keys()) box.detach(device);
}

/** The image that every run starts with a copy of; small and in memory, for there are hundreds of runs. */
async function template(box: Sandbox, image: string, content: Setting["content"]): Promise<void> {
  const disk = ["--image", image, "--size", `${SIZE}`];
  if (content === "prepared") {
    await up(box, ...disk);
    writeMarker(box);
    await down(box, "--image", image);
  } else if (content === "interrupted") {
    const { restore } = replaceMkfs(box, "kill -KILL $$");
    await start(["volume", "up", "--root", box.root, ...disk]).done;
    restore();
  }
}

/** Asked of each loop device of the machine, to find the one of an image: others come and go. */
const ofEachLoop = /"\/sys\/block\/|"\/dev\/loop" O_RDONLY\|O_NONBLOCK/;
/** Made again only when another program was faster to take the free loop device. */
const ofAttaching = /LOOP_CTL_GET_FREE|LOOP_CONFIGURE|"\/dev\/loop" O_RDWR/;
/** Asked of each process of the machine, to find who uses a volume that goes down. */
const ofEachProcess = /[</]proc\/self\/(ns|comm|cwd|root|exe|fd|map_files|mountinfo|task)/;

/** Asked of each Btrfs of the machine: where ours is not mounted, of those of other programs alone. */
const ofEachFilesystem = /\/sys\/fs\/btrfs\/UUID\/devices|"\/sys\/class\/block\//;
/** What such a Btrfs lies on; also asked of a loop device that may be that of an image. */
const ofBacking = /LOOP_GET_STATUS64|\/loop\/backing_file>/;

/** Read once more where the kernel has forgotten what a path leads to, and so who would be asked for it. */
const ofMountTable = /mountinfo"? O_RDONLY|mountinfo>/;

/** Asked where writing down takes long, to see whether the disk goes on. */
const ofProgress = /\/block\/loop\/stat["> ]/;

/** A child that looks where nobody may answer is started only when the answer takes long. */
const ofStarting = /^vfork/;

function isSteady(
  { content, image, command, mounted }: Setting,
  { label, nth, occurrence }: Call,
): boolean {
  if (mounted === undefined && ofEachFilesystem.test(label)) return false;
  // A format asks who writes to its disk, and the end of a volume who has it; both start one program for certain.
  const looksAtAll = content !== "prepared" || command === "down";
  if (looksAtAll && ofEachProcess.test(label)) return false;
  if (ofProgress.test(label)) return false;
  if (occurrence > 2 && ofMountTable.test(label)) return false;
  if (ofStarting.test(label) && !(looksAtAll && nth === 1)) return false;
  if (image === undefined) return mounted !== undefined || !ofBacking.test(label);
  const ofLoops = [ofEachLoop, ofBacking, ofAttaching];
  return occurrence === 0 || !ofLoops.some((pattern) => pattern.test(label));
}

export async function stageOf(box: Sandbox, name: StageName): Promise<Stage> {
  const setting = settingOf(name);
  const { content, command = "up", image, larger, damaged, mounted } = setting;
  const folder = box.mount("tmpfs", "memory", "-t", "tmpfs");
  const original = `${folder}/original.img`;
  const file = `${folder}/disk.img`;
  const bytes = larger === true ? GROWN : SIZE;
  await template(box, original, content);

  const device = image === undefined ? box.attach(box.image(bytes, "memory/disk.img")) : null;
  const named = device === null ? ["--image", file] : ["--device", device];
  const disk = device === null ? [...named, "--size", `${bytes}`] : named;
  let before: ReturnType<Stage["before"]> = { mounts: [], loops: 0 };

  const fill = (): void => {
    if (image === "missing") rmSync(file, { force: true });
    else if (content === "blank") resize(file, 0);
    else copySparse(original, file);
    if (damaged === true) flipByte(file, PRIMARY + at.label);
    if (image === "attached") box.attach(file);
    if (device === null) return;
    resize(file, bytes);
    dropCache(device);
  };
  const mountPart = async (): Promise<void> => {
    await up(box, ...disk);
    if (mounted !== "half") return;
    const paths = mountsUnder(box.root).map(({ path }) => path);
    tryCommand("umount", ...paths.slice(paths.length / 2));
  };
  return {
    box,
    disk,
    argv: ["volume", command, "--json", "--root", box.root, ...(command === "up" ? disk : named)],
    file,
    bytes,
    uuid: content === "prepared" ? superblockFacts(original).uuid : null,
    before: () => before,
    async reset() {
      unmountAll(box);
      if (device === null) detachAll(box);
      else dropCache(device);
      rmSync(box.root, { recursive: true, force: true });
      fill();
      if (mounted !== undefined) await mountPart();
      before = { mounts: ourMounts(box), loops: attachedLoops(box.dir).size };
    },
    hasOneDevice: device !== null,
    isSteady: (call) => isSteady(setting, call),
  };
}
