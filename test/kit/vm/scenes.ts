import { flipByte, GiB, resize, zeroAt } from "../image.ts";
import type { Sandbox } from "../sandbox.ts";
import { at, PRIMARY } from "../superblock.ts";
import { preparedDisk } from "../volume.ts";

/** Something that a guest does to a disk and that a power cut may end at any point. */
export interface Scene {
  readonly name: string;
  /** Makes the disk as it is before. */
  readonly image: (box: Sandbox) => Promise<string>;
  /** The options of `up`, in the guest and in the run after the power cut. */
  readonly options: readonly string[];
  readonly writesFiles: boolean;
  /** The marker file is there after every cut; else after none: what was overwritten does not come back. */
  readonly hasMarker: boolean;
  /** What the run after a cut may find; each is found after some cut. */
  readonly verdicts: readonly string[];
}

async function prepared(box: Sandbox): Promise<string> {
  const { image, device } = await preparedDisk(box);
  box.detach(device);
  return image;
}

async function edited(box: Sandbox, edit: (image: string) => void): Promise<string> {
  const image = await prepared(box);
  edit(image);
  return image;
}

export const scenes: readonly Scene[] = [
  {
    name: "a first boot",
    image: async (box) => box.image(GiB),
    options: [],
    writesFiles: false,
    hasMarker: false,
    verdicts: ["blank", "interrupted", "btrfs"],
  },
  {
    name: "a format over a wiped volume",
    image: (box) => edited(box, (image) => zeroAt(image, PRIMARY + at.magic, 8)),
    options: ["--format", "any"],
    writesFiles: false,
    hasMarker: false,
    verdicts: ["wiped", "interrupted", "btrfs"],
  },
  {
    name: "growth",
    image: (box) => edited(box, (image) => resize(image, 2 * GiB)),
    options: [],
    writesFiles: false,
    hasMarker: true,
    verdicts: ["btrfs"],
  },
  {
    name: "a repair",
    image: (box) => edited(box, (image) => flipByte(image, PRIMARY + at.label)),
    options: [],
    writesFiles: false,
    hasMarker: true,
    verdicts: ["damaged", "btrfs"],
  },
  {
    name: "the writing of files",
    image: prepared,
    options: [],
    writesFiles: true,
    hasMarker: true,
    verdicts: ["btrfs"],
  },
];
