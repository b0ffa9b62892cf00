import {
  copyOffsets,
  parseSuperblock,
  primaryOffset,
  superblockMagic,
  temporaryMagic,
  withFields,
} from "../../../src/btrfs/superblock.ts";
import { fromUtf8 } from "../../../src/linux/text.ts";
import { emptyTree, newSuperblock, readCopy, writeCopy, writeTree } from "./btrfs.ts";
import type { Random } from "./random.ts";
import type { Storage } from "./storage.ts";

const mebibyte = 1024 * 1024;
const wipedBytes = 2 * mebibyte;
/** btrfs-progs 6.2 with its defaults. */
const leastBytes = 114_294_784;

interface Arguments {
  readonly label: string;
  readonly force: boolean;
  readonly path: string;
}

export function parseMkfsArguments(args: readonly string[]): Arguments {
  const at = args.indexOf("--label");
  return {
    label: at < 0 ? "" : (args[at + 1] ?? ""),
    force: args.includes("--force"),
    path: args.at(-1) ?? "",
  };
}

/** What mkfs.btrfs says when it will not, having written nothing; null when it begins. */
export function mkfsRefusal(storage: Storage, isMounted: boolean, force: boolean): string | null {
  if (isMounted) return "ERROR: the device is mounted";
  if (storage.sizeBytes < leastBytes) return "ERROR: the device is too small";
  if (force) return null;
  const head = new Uint8Array(0x440);
  storage.read(head, 0);
  const found =
    readCopy(storage, primaryOffset).magic === superblockMagic ||
    (head[0x438] === 0x53 && head[0x439] === 0xef) ||
    fromUtf8(head.subarray(512, 520)) === "EFI PART";
  return found ? "ERROR: appears to contain an existing filesystem; use the -f option" : null;
}

/**
 * The steps of mkfs.btrfs in the order in which it writes and flushes (strace of btrfs-progs 6.2):
 * the head, the mirrors and the tail are zeroed, the trees grow under superblocks with a temporary
 * magic, and only at the end, with everything else on the disk, the magic is put right: first in the
 * primary, then in the mirrors.
 */
export function mkfsSteps(
  storage: Storage,
  label: string,
  random: Random,
): readonly (() => void)[] {
  const { sizeBytes } = storage;
  const offsets = copyOffsets(sizeBytes);
  const flush = () => storage.flush();
  const done = newSuperblock({
    fsid: random.bytes(16),
    deviceUuid: random.bytes(16),
    label,
    deviceBytes: sizeBytes - (sizeBytes % 4096),
  });
  const begun = withFields(done, { magic: temporaryMagic, generation: done.generation - 2n });
  let superblock = begun;
  const grow = (): void => {
    superblock = writeTree(
      storage,
      withFields(superblock, { generation: superblock.generation + 1n }),
      emptyTree(),
    );
  };
  const copies = (): (() => void)[] =>
    offsets.flatMap((offset) => [() => writeCopy(storage, superblock, offset), flush]);
  return [
    () => storage.zero(0, wipedBytes),
    ...offsets.map((offset) => () => storage.zero(offset, 4096)),
    () => storage.zero(sizeBytes - wipedBytes, wipedBytes),
    () => {
      superblock = writeTree(storage, begun, emptyTree());
    },
    () => writeCopy(storage, superblock, primaryOffset),
    flush,
    grow,
    flush,
    ...copies(),
    grow,
    flush,
    ...copies(),
    () => {
      superblock = withFields(parseSuperblock(superblock.block), { magic: superblockMagic });
    },
    ...copies(),
  ];
}
