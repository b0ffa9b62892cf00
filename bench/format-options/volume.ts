import { readFileSync } from "node:fs";
import { join } from "node:path";
import { command } from "../../test/kit/command.ts";
import { KiB, MiB } from "../../test/kit/image.ts";
import { traffic } from "../../test/kit/loops.ts";
import { superblockFacts } from "../../test/kit/superblock.ts";
import { built } from "../build.ts";
import { Disk } from "../disk.ts";
import { numbersOf, sample } from "../sample.ts";
import { smallBytes } from "../scenarios.ts";

export const nodeSizes = [4 * KiB, 8 * KiB, 16 * KiB] as const;
export type NodeSize = (typeof nodeSizes)[number];

/** What some work cost, until all of it was on the disk. */
export interface Cost {
  readonly seconds: number;
  readonly writtenMib: number;
  readonly reads: number;
}

/** How many reads a device has been asked for (Documentation/block/stat.rst). */
const readsOf = (device: string): number =>
  Number(
    readFileSync(`/sys/block/${device.slice("/dev/".length)}/stat`, "utf8")
      .trim()
      .split(/\s+/)[0],
  );

/** A volume of one node size, mounted with the options that `up` uses. */
export class Volume {
  readonly disk: Disk;
  readonly nodeSize: NodeSize;

  constructor(folder: string, nodeSize: NodeSize) {
    this.disk = new Disk(folder, smallBytes);
    this.nodeSize = nodeSize;
  }

  path(...names: readonly string[]): string {
    return join(this.disk.root, ...names);
  }

  format(): void {
    this.disk.blank();
    const options = ["--quiet", "--nodiscard", "--metadata", "dup"];
    command("mkfs.btrfs", ...options, "--nodesize", `${this.nodeSize}`, this.disk.device);
    this.mount();
  }

  /** Milliseconds of mount(8). */
  mount(): number {
    const options = "compress=zstd:1,discard=async,noatime";
    const { device, root } = this.disk;
    return sample(["/bin/mount", "--types", "btrfs", "--options", options, device, root]).wallMs;
  }

  /** As after a boot: nothing of the filesystem is in memory. */
  remount(): number {
    this.disk.unmount();
    command("blockdev", "--flushbufs", this.disk.device);
    return this.mount();
  }

  /** Runs workload.c; the number it prints, if any, and the cost until it is on the disk. */
  work(...words: readonly string[]): Cost & { readonly printed: number } {
    this.disk.settle();
    const [written, reads] = [traffic(this.disk.device).writtenSectors, readsOf(this.disk.device)];
    const began = performance.now();
    const [printed = Number.NaN] = numbersOf([built("workload"), ...words]);
    const seconds = (performance.now() - began) / 1000;
    this.disk.settle();
    return {
      printed,
      seconds,
      writtenMib: ((traffic(this.disk.device).writtenSectors - written) * 512) / MiB,
      reads: readsOf(this.disk.device) - reads,
    };
  }

  /** Metadata in use, one copy of it. */
  metadataMib(): number {
    this.disk.settle();
    const { uuid } = superblockFacts(this.disk.image);
    const file = `/sys/fs/btrfs/${uuid}/allocation/metadata/bytes_used`;
    return Number(readFileSync(file, "utf8")) / MiB;
  }
}
