import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { command } from "../command.ts";

/** What a guest did to a disk, in the order in which it did it. */
export type Entry =
  | { readonly kind: "flush" }
  | { readonly kind: "discard"; readonly offset: number; readonly length: number }
  | {
      readonly kind: "write";
      readonly offset: number;
      readonly length: number;
      /** Where the log has the bytes. */
      readonly logOffset: number;
    };

/** What of an entry reached the disk: all of it, or the bytes in between. */
export interface Part {
  readonly index: number;
  readonly from: number;
  readonly to: number;
}

/** QEMU's block/blklogwrites.c and the kernel's Documentation/admin-guide/device-mapper/log-writes.rst */
const MAGIC = 0x6a736677736872n;
const SECTOR = 512;
const FLUSH = 1n;
const DISCARD = 4n;
/** The head of an entry: sector, number of sectors, flags, bytes of data; it fills a sector. */
const HEAD_BYTES = 32;

/** The recorded writes of a disk; `entries` are those that the log had when it was opened. */
export class WriteLog {
  readonly entries: readonly Entry[];
  readonly #fd: number;

  constructor(file: string) {
    this.#fd = openSync(file, "r");
    this.entries = [...this.#parse()];
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Does to an image what a part of an entry did to the disk. */
  apply({ index, from, to }: Part, image: string): void {
    const entry = this.entries[index];
    if (entry === undefined || entry.kind === "flush" || from === to) return;
    if (entry.kind === "discard") {
      const range = ["--offset", `${entry.offset + from}`, "--length", `${to - from}`];
      command("fallocate", "--punch-hole", ...range, image);
      return;
    }
    const bytes = Buffer.alloc(to - from);
    readSync(this.#fd, bytes, 0, bytes.length, entry.logOffset + from);
    const fd = openSync(image, "r+");
    writeSync(fd, bytes, 0, bytes.length, entry.offset + from);
    closeSync(fd);
  }

  *#parse(): Generator<Entry> {
    const head = Buffer.alloc(HEAD_BYTES);
    readSync(this.#fd, head, 0, HEAD_BYTES, 0);
    if (head.readBigUInt64LE(0) !== MAGIC) throw new Error("this is no log of writes");
    if (head.readUInt32LE(24) !== SECTOR) throw new Error("the log has sectors of another size");
    for (let at = SECTOR; readSync(this.#fd, head, 0, HEAD_BYTES, at) === HEAD_BYTES; ) {
      const [offset, length] = [0, 8].map((place) => Number(head.readBigUInt64LE(place)) * SECTOR);
      const flags = head.readBigUInt64LE(16);
      // Reserved, and not yet written.
      if (offset === undefined || length === undefined || (length === 0 && flags === 0n)) return;
      at += SECTOR;
      if ((flags & FLUSH) !== 0n) yield { kind: "flush" };
      else if ((flags & DISCARD) !== 0n) yield { kind: "discard", offset, length };
      else {
        yield { kind: "write", offset, length, logOffset: at };
        at += length;
      }
    }
  }
}

/** The number of entries that a log has at this moment. */
export function entryCount(file: string): number {
  const log = new WriteLog(file);
  log.close();
  return log.entries.length;
}
