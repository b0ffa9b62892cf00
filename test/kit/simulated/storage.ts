import type { Random } from "./random.ts";

/** What a cache writes at once. A power cut may tear it into the sectors that a disk writes as a whole. */
export const blockBytes = 4096;
const sectorBytes = 512;

/** Blocks by their number. A block is never changed once it is in here, so a copy may share it. */
export type Blocks = Map<number, Uint8Array>;

const zeroBlock = new Uint8Array(blockBytes);
const isZero = (block: Uint8Array): boolean => Buffer.compare(block, zeroBlock) === 0;

/** Where bytes are kept: what a power cut cannot take, and what was written since the last flush. */
export class Storage {
  sizeBytes: number;
  readonly durable: Blocks;
  readonly dirty: Blocks;
  /** Of a loop device: the file that its writes end in. Then nothing is durable in here. */
  readonly below: Storage | null;
  /** Blocks that the disk cannot read. */
  bad: ReadonlySet<number> = new Set();

  constructor(
    sizeBytes: number,
    below: Storage | null = null,
    durable: Blocks = new Map(),
    dirty: Blocks = new Map(),
  ) {
    this.sizeBytes = sizeBytes;
    this.below = below;
    this.durable = durable;
    this.dirty = dirty;
  }

  clone(below: Storage | null = null): Storage {
    const copy = new Storage(this.sizeBytes, below, new Map(this.durable), new Map(this.dirty));
    copy.bad = this.bad;
    return copy;
  }

  /** A whole block as a reader sees it now; undefined where nothing was ever written. */
  find(index: number): Uint8Array | undefined {
    return this.dirty.get(index) ?? this.durable.get(index) ?? this.below?.find(index);
  }

  block(index: number): Uint8Array {
    return this.find(index) ?? zeroBlock;
  }

  isBad(offset: number, length: number): boolean {
    const last = offset + length - 1;
    for (const index of this.bad) {
      const start = index * blockBytes;
      if (start <= last && offset < start + blockBytes) return true;
    }
    return false;
  }

  /** Fills `buffer`, which must be all zeros, as far as the storage goes; gives the count. */
  read(buffer: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(buffer.length, this.sizeBytes - offset));
    const end = offset + count;
    this.#eachBetween(offset, end, (index, block) => {
      const start = index * blockBytes;
      const from = Math.max(start, offset);
      const to = Math.min(start + blockBytes, end);
      buffer.set(block.subarray(from - start, to - start), from - offset);
    });
    return count;
  }

  /**
   * Every block of the range that was ever written. Most of a disk was not: it is quicker to look through
   * what there is than to ask for each block.
   */
  #eachBetween(offset: number, end: number, visit: (index: number, block: Uint8Array) => void) {
    const first = Math.floor(offset / blockBytes);
    const last = Math.ceil(end / blockBytes) - 1;
    const few = 32;
    if (last - first < few) {
      for (let index = first; index <= last; index++) {
        const block = this.find(index);
        if (block !== undefined) visit(index, block);
      }
      return;
    }
    for (const index of this.written()) {
      if (index >= first && index <= last) visit(index, this.block(index));
    }
  }

  /** The numbers of all blocks that were ever written. */
  written(): Set<number> {
    return new Set([
      ...this.durable.keys(),
      ...this.dirty.keys(),
      ...(this.below?.written() ?? []),
    ]);
  }

  write(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const index = Math.floor(at / blockBytes);
      const inside = at - index * blockBytes;
      const count = Math.min(blockBytes - inside, bytes.length - done);
      const block = this.block(index).slice();
      block.set(bytes.subarray(done, done + count), inside);
      this.dirty.set(index, block);
      done += count;
    }
  }

  /** Writes zeros. Where nothing was ever written there are zeros already. */
  zero(offset: number, length: number): void {
    this.#eachBetween(offset, offset + length, (index, block) => {
      if (!isZero(block)) this.dirty.set(index, zeroBlock);
    });
  }

  /** Hands what was written on to the file below, as a device does when its cache is dropped. */
  writeBack(): void {
    if (this.below === null) return;
    for (const [index, block] of this.dirty) this.below.dirty.set(index, block);
    this.dirty.clear();
  }

  /** fsync: all of it is on the disk. */
  flush(): void {
    this.writeBack();
    this.below?.flush();
    // Of a loop device there is nothing left to do: all of it went to the file.
    for (const [index, block] of this.dirty) this.durable.set(index, block);
    this.dirty.clear();
  }

  resize(sizeBytes: number): void {
    this.sizeBytes = sizeBytes;
    const blocks = Math.ceil(sizeBytes / blockBytes);
    for (const layer of [this.durable, this.dirty]) {
      for (const index of [...layer.keys()]) if (index >= blocks) layer.delete(index);
    }
  }

  /** The power fails: of each block that was not flushed, all, nothing or some sectors are there. */
  loseUnflushed(random: Random): void {
    const under = this.below ?? this;
    for (const [index, block] of this.dirty) {
      const kept = torn(
        under === this ? this.durable.get(index) : under.block(index),
        block,
        random,
      );
      under.durable.set(index, kept);
    }
    this.dirty.clear();
  }

  /** The blocks that are not all zero. */
  content(): Blocks {
    const found: Blocks = new Map();
    for (const index of [...this.written()].sort((a, b) => a - b)) {
      const block = this.block(index);
      if (!isZero(block)) found.set(index, block);
    }
    return found;
  }
}

function torn(before: Uint8Array = zeroBlock, after: Uint8Array, random: Random): Uint8Array {
  const fate = random.below(4);
  if (fate === 0) return before;
  if (fate === 1) return after;
  const block = before.slice();
  for (let at = 0; at < blockBytes; at += sectorBytes) {
    if (random.below(2) === 0) block.set(after.subarray(at, at + sectorBytes), at);
  }
  return block;
}

/** True when both hold the same bytes, in all blocks but those that may differ. */
export function sameContent(
  a: Blocks,
  b: Blocks,
  mayDiffer: (offset: number) => boolean = () => false,
): boolean {
  for (const index of new Set([...a.keys(), ...b.keys()])) {
    if (mayDiffer(index * blockBytes)) continue;
    if (Buffer.compare(a.get(index) ?? zeroBlock, b.get(index) ?? zeroBlock) !== 0) return false;
  }
  return true;
}
