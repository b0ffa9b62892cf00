import { mkdirSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { command } from "../test/kit/command.ts";
import { copySparse, flush } from "../test/kit/image.ts";
import { detachLoop, refreshSize, traffic } from "../test/kit/loops.ts";
import { mountsUnder } from "../test/kit/mountinfo.ts";
import { superblockFacts } from "../test/kit/superblock.ts";

/** What a run did to the disk, once everything it left in memory is there. */
export interface DiskCounters {
  readonly writtenKib: number;
  readonly generation: number;
}

/** A sparse image, the loop device that shows it, and the folder below which it is mounted. */
export class Disk {
  readonly image: string;
  readonly root: string;
  readonly device: string;
  readonly sizeBytes: number;
  #isAttached = true;

  constructor(folder: string, sizeBytes: number) {
    mkdirSync(folder, { recursive: true });
    this.image = join(folder, "disk.img");
    this.root = join(folder, "root");
    this.sizeBytes = sizeBytes;
    mkdirSync(this.root);
    command("truncate", "--size", String(sizeBytes), this.image);
    this.device = command("losetup", "--find", "--show", this.image).trim();
  }

  get mountedPaths(): string[] {
    return mountsUnder(this.root).map(({ path }) => path);
  }

  unmount(): void {
    const paths = this.mountedPaths.reverse();
    if (paths.length > 0) command("umount", ...paths);
  }

  /** A disk and a machine that have never been used. */
  blank(): void {
    this.unmount();
    rmSync(this.root, { recursive: true });
    mkdirSync(this.root);
    truncateSync(this.image, 0);
    this.#showImage();
  }

  /** Takes the content of a smaller image, as if that disk had been grown while it was off. */
  restore(template: string): void {
    this.unmount();
    copySparse(template, this.image);
    this.#showImage();
  }

  /** Lets the disk have another size while `work` runs on it. */
  showAs(sizeBytes: number, work: () => void): void {
    truncateSync(this.image, sizeBytes);
    refreshSize(this.device);
    work();
    this.unmount();
    truncateSync(this.image, this.sizeBytes);
    refreshSize(this.device);
  }

  keepAs(template: string, sizeBytes: number): void {
    copySparse(this.image, template);
    truncateSync(template, sizeBytes);
  }

  /** The device has its size from when it was attached; only its cache must be told. */
  #showImage(): void {
    truncateSync(this.image, this.sizeBytes);
    command("blockdev", "--flushbufs", this.device);
  }

  /** Brings everything to the disk that is still in memory. */
  settle(): void {
    for (const path of this.mountedPaths.slice(0, 1)) command("sync", "--file-system", path);
    flush(this.device);
  }

  counters(): DiskCounters {
    const writtenKib = traffic(this.device).writtenSectors / 2;
    return { writtenKib, generation: Number(superblockFacts(this.image).generation) };
  }

  /** Unmounts and detaches; once, because the device may be somebody else's afterwards. */
  close(): void {
    this.unmount();
    if (this.#isAttached) detachLoop(this.device);
    this.#isAttached = false;
  }
}
