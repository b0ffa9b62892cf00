import { command } from "./command.ts";
import { nonZeroBlocks, readAt, writeAt } from "./image.ts";
import { MIRROR, PRIMARY } from "./superblock.ts";

const BYTENR = 48;
/** Somewhere among the items of any block of a tree. */
const INSIDE = 200;

/** The addresses of blocks that `btrfs inspect-internal dump-super` shows: `root`, `chunk_root`, `log_root`. */
export function addressInSuperblock(image: string, field: string): bigint {
  const text = command("btrfs", "inspect-internal", "dump-super", image);
  const address = new RegExp(`^${field}\\s+(\\d+)$`, "m").exec(text)?.[1];
  if (address === undefined) throw new Error(`no ${field} in ${text}`);
  return BigInt(address);
}

/** The root of a tree, by the name that btrfs-progs have for it: `EXTENT_TREE`, `CSUM_TREE`. */
export function rootAddress(image: string, tree: string): bigint {
  const text = command("btrfs", "inspect-internal", "dump-tree", "--tree", "root", image);
  const address = new RegExp(`key \\(${tree} ROOT_ITEM \\d+\\)[\\s\\S]*?bytenr (\\d+)`).exec(
    text,
  )?.[1];
  if (address === undefined) throw new Error(`no root of ${tree} in ${text}`);
  return BigInt(address);
}

/** Where the copies of the tree block at a logical address lie. */
const placesOf = (image: string, address: bigint): readonly number[] =>
  nonZeroBlocks(image).filter(
    (place) =>
      place !== PRIMARY &&
      place !== MIRROR &&
      readAt(image, place + BYTENR, 8).readBigUInt64LE() === address,
  );

export const hasBlock = (image: string, address: bigint): boolean =>
  placesOf(image, address).length > 0;

/** Damages every copy of the tree block at a logical address. */
export function damageBlock(image: string, address: bigint): void {
  const places = placesOf(image, address);
  if (places.length === 0) throw new Error(`no block of the address ${address}`);
  for (const place of places) writeAt(image, place + INSIDE, Buffer.from("damage"));
}
