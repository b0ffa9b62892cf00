import { primaryOffset, temporaryMagic, withFields } from "../../../src/btrfs/superblock.ts";
import { utf8 } from "../../../src/linux/text.ts";
import { encodeIntent } from "../../../src/volume/intent.ts";
import type { Verdict } from "../../../src/volume/verdict.ts";
import {
  newSuperblock,
  readCopy,
  writeCopies,
  writeCopy,
  writeTree,
} from "../../kit/simulated/btrfs.ts";
import { mkfsSteps } from "../../kit/simulated/mkfs.ts";
import { Random } from "../../kit/simulated/random.ts";
import { blockBytes, type Storage } from "../../kit/simulated/storage.ts";
import { type Inside, treeOf } from "./inside.ts";

const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const mirrorPlaces = [64 * MiB, 256 * GiB] as const;

export interface Content {
  readonly verdict: Verdict["kind"];
  /** Which of the ways to be so. */
  readonly variant: number;
  readonly inside: Inside;
  /** Bytes of the device that its filesystem uses; the device may have grown since. */
  readonly filesystemBytes: number;
  /** The record of a finished format was left beside the filesystem. */
  readonly record: boolean;
}

const labelOf = "arcbox-data";

/** Where the record of a format stands; written down a second time. */
export const recordPlace = 64 * MiB + 32 * KiB;

/** Of the ways to be foreign, `paint` has seven; in the second an intact Btrfs lies under a GPT. */
export const isOverIntact = ({ verdict, variant }: Pick<Content, "verdict" | "variant">): boolean =>
  verdict === "foreign" && variant % 7 === 1;

/** Makes the disk what the verdict says. All of it is flushed. */
export function paint(storage: Storage, content: Content, seed: number): void {
  const random = new Random(seed);
  painters[content.verdict](storage, content, random);
  if (content.record) {
    storage.write(encodeIntent(storage.sizeBytes, random.bytes(16)), recordPlace);
  }
  storage.flush();
}

type Painter = (storage: Storage, content: Content, random: Random) => void;

function filesystem(
  storage: Storage,
  { inside, filesystemBytes }: Content,
  random: Random,
  deviceCount = 1,
): void {
  const made = newSuperblock({
    fsid: random.bytes(16),
    deviceUuid: random.bytes(16),
    label: labelOf,
    deviceBytes: filesystemBytes,
    deviceCount,
    generation: 40,
  });
  const superblock = writeTree(storage, made, treeOf(inside));
  writeCopies(storage, superblock, Math.min(filesystemBytes, storage.sizeBytes));
}

const sound: Painter = (storage, content, random) => filesystem(storage, content, random);

function edit(storage: Storage, offset: number, change: (block: Uint8Array) => void): void {
  const block = new Uint8Array(blockBytes);
  storage.read(block, offset);
  change(block);
  storage.write(block, offset);
}

const flip =
  (place: number) =>
  (block: Uint8Array): void => {
    block[place] = (block[place] ?? 0) ^ 0xff;
  };

const garbage = (random: Random, length = blockBytes): Uint8Array =>
  random.bytes(length).map((byte) => byte | 1);

const one = (storage: Storage, variants: readonly (() => void)[], variant: number): void => {
  variants[variant % variants.length]?.();
  storage.flush();
};

const painters: Record<Verdict["kind"], Painter> = {
  btrfs: sound,
  mounted: sound,
  blank: () => undefined,
  "multi-device": (storage, content, random) => filesystem(storage, content, random, 2),
  shrunk: (storage, content, random) =>
    filesystem(storage, { ...content, filesystemBytes: storage.sizeBytes + 512 }, random),
  wiped: (storage, content, random) => {
    sound(storage, content, random);
    edit(storage, primaryOffset, (block) => block.fill(0, 64, 72));
  },
  damaged: (storage, content, random) => {
    sound(storage, content, random);
    const damage = (change: (block: Uint8Array) => void) => () =>
      edit(storage, primaryOffset, change);
    one(
      storage,
      [
        damage(flip(299)),
        damage(flip(72)),
        damage(flip(2)),
        damage((block) => block.fill(0, 512)),
        damage((block) => block.fill(0, 0, 128)),
      ],
      content.variant,
    );
  },
  ambiguous: (storage, content, random) => {
    sound(storage, content, random);
    one(
      storage,
      [
        () => storage.write(garbage(random), primaryOffset),
        () => edit(storage, primaryOffset, (block) => block.fill(0)),
        () => {
          storage.write(Uint8Array.of(0x5a), 3000);
          edit(storage, primaryOffset, flip(299));
        },
      ],
      content.variant,
    );
  },
  interrupted: (storage, content, random) => {
    const record = encodeIntent(storage.sizeBytes, random.bytes(16));
    storage.write(record, recordPlace);
    const steps = mkfsSteps(storage, labelOf, random);
    // The last of them put the magic right: then it is no longer interrupted.
    const copies = storage.sizeBytes > mirrorPlaces[1] + blockBytes ? 3 : 2;
    const most = steps.length - 2 * copies;
    for (const step of steps.slice(0, content.variant % (most + 1))) step();
  },
  hopeless: (storage, content, random) => {
    sound(storage, content, random);
    const zeroMirrors = () => {
      for (const place of mirrorPlaces) storage.zero(place, blockBytes);
    };
    one(
      storage,
      [
        () => {
          edit(storage, primaryOffset, flip(299));
          for (const place of mirrorPlaces) {
            if (readCopy(storage, place).magic !== 0n) edit(storage, place, flip(72));
          }
        },
        () => {
          zeroMirrors();
          const superblock = readCopy(storage, primaryOffset);
          writeCopy(storage, withFields(superblock, { magic: temporaryMagic }), primaryOffset);
        },
        () => {
          zeroMirrors();
          edit(storage, primaryOffset, flip(50));
        },
      ],
      content.variant,
    );
  },
  foreign: (storage, content, random) => {
    const { sizeBytes } = storage;
    storage.write(garbage(random, 3 * blockBytes), 8 * MiB);
    const gpt = () => storage.write(utf8("EFI PART"), 512);
    const gptOverBtrfs = () => {
      sound(storage, content, random);
      gpt();
    };
    one(
      storage,
      [
        () => storage.write(Uint8Array.of(0x53, 0xef), 0x438),
        gptOverBtrfs,
        gpt,
        () => storage.write(Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe), 0),
        () =>
          storage.write(
            Uint8Array.of(0xfc, 0x4e, 0x2b, 0xa9),
            Math.floor((Math.floor(sizeBytes / 512) - 16) / 8) * 4096,
          ),
        () => storage.write(utf8("SWAPSPACE2"), 4 * KiB - 10),
        () => {
          storage.write(Uint8Array.of(0x55, 0xaa), 510);
          storage.write(Uint8Array.of(0x83), 446 + 4);
        },
      ],
      content.variant,
    );
  },
  unknown: (storage, { variant }, random) => {
    const { sizeBytes } = storage;
    const sample =
      Math.floor((0.5 + (variant % 256)) * (sizeBytes / 256 / blockBytes)) * blockBytes;
    const place = [100 * KiB, MiB, sizeBytes - 4 * KiB, sample][variant % 4] ?? sample;
    storage.write(garbage(random, 512), place);
  },
  unreadable: (storage, { variant }) => {
    const places = [0, primaryOffset, storage.sizeBytes - 4 * KiB, recordPlace];
    storage.bad = new Set([Math.floor((places[variant % places.length] ?? 0) / blockBytes)]);
  },
};
