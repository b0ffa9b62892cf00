import type { Entry, Part } from "./write-log.ts";

/** A state in which a power cut may leave a disk. */
export interface Cut {
  /** Entries before this one are on the disk: a flush that came after them had ended. */
  readonly durable: number;
  /** What reached the disk of the entries since. */
  readonly since: readonly Part[];
  /** A write that the disk did not do as a whole: real disks promise that of 512 bytes alone. */
  readonly torn: Part | null;
}

const SECTOR = 512;

/** A generator of numbers in [0, 1), always the same for a seed (Mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The entries between two flushes. */
interface Epoch {
  readonly start: number;
  readonly end: number;
}

function epochsOf(entries: readonly Entry[]): readonly Epoch[] {
  const flushes = entries.flatMap(({ kind }, index) => (kind === "flush" ? [index] : []));
  const ends = [...flushes, entries.length];
  return ends.map((end, place) => ({ start: (flushes[place - 1] ?? -1) + 1, end }));
}

export function wholeOf(entries: readonly Entry[], index: number): Part {
  const entry = entries[index];
  return { index, from: 0, to: entry === undefined || entry.kind === "flush" ? 0 : entry.length };
}

/** What is promised once so many entries were logged and a guest's fsync(2) had returned. */
export const flushBefore = (entries: readonly Entry[], count: number): number =>
  entries.slice(0, count).findLastIndex(({ kind }) => kind === "flush");

/**
 * The states that a power cut may leave, in the order of the log: every prefix; and between each two
 * flushes `more` times some of the writes, and as often with one of them torn. A disk with a cache
 * keeps no order between two flushes, but of two writes to one place the later one wins.
 */
export function cutsOf(entries: readonly Entry[], more: number, random: () => number): Cut[] {
  const whole = (index: number): Part => wholeOf(entries, index);
  const tear = ({ index, to }: Part): Part => {
    const at = Math.ceil((random() * to) / SECTOR) * SECTOR;
    return random() < 0.5 ? { index, from: 0, to: at } : { index, from: at, to };
  };
  return epochsOf(entries).flatMap(({ start, end }) => {
    const all = Array.from({ length: end - start }, (_, place) => whole(start + place));
    const prefixes = all.map((_, count) => all.slice(0, count));
    // All of the last epoch: the power went when nothing more was to be done.
    if (end === entries.length) prefixes.push(all);
    const cuts: Cut[] = prefixes.map((since) => ({ durable: start, since, torn: null }));
    for (let time = 0; all.length > 0 && time < more; time += 1) {
      const share = random();
      const some = all.filter(() => random() < share);
      if (some.length < all.length) cuts.push({ durable: start, since: some, torn: null });
      const victim = Math.floor(random() * all.length);
      const torn = tear(whole(start + victim));
      const before = all.slice(0, victim).filter(() => random() < 0.8);
      cuts.push({ durable: start, since: [...before, torn], torn });
    }
    return cuts;
  });
}

/** So many of a list, spread evenly over it, the first and the last among them. */
export function spread<T>(list: readonly T[], count: number): readonly T[] {
  if (count >= list.length) return list;
  const step = (list.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, place) => list[Math.round(place * step)]).filter(
    (item) => item !== undefined,
  );
}
