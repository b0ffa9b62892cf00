// What the demo sees with its own eyes, as the tests do: nothing here asks the program it checks.
import { statSync } from "node:fs";
import { GiB, MiB } from "../../test/kit/image.ts";
import { superblockFacts } from "../../test/kit/superblock.ts";

export interface Image {
  /** What `ls` shows. */
  readonly sizeBytes: number;
  /** What the file really occupies. */
  readonly usedBytes: number;
  /** Changes with every byte that is written to the disk. */
  readonly writtenAtMs: number;
  /** Btrfs counts its transactions here: what is not counted was not written. */
  readonly generation: bigint;
}

export function lookAtImage(path: string): Image {
  const { size, blocks, mtimeMs } = statSync(path);
  const { generation } = superblockFacts(path);
  return { sizeBytes: size, usedBytes: blocks * 512, writtenAtMs: mtimeMs, generation };
}

export const inGib = (bytes: number): string => `${Math.round(bytes / GiB)} GiB`;

export const inMib = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`;
