import {
  bytesIn,
  checksumTypes,
  copyPlaces,
  type FieldName,
  fields,
  mirrorPlaces,
  number,
  primaryPlace,
  sealed,
  superblockBytes,
  withNumber,
} from "./own-superblock.ts";
import type { Random } from "./random.ts";
import { bytesOf, resized, type Sketch, write } from "./sketch.ts";
import { foreignMarks, placesToBeZero } from "./verdict-oracle.ts";
import { freshSuperblock, intentPlace, intentRecord, wipe } from "./verdict-seeds.ts";

/** One change of a disk that knows what it changes. `other` is another disk of the corpus. */
type Mutation = (random: Random, sketch: Sketch, other: Sketch) => Sketch;

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

const fieldNames = Object.keys(fields) as FieldName[];
const extremes = [
  0n,
  1n,
  2n,
  3n,
  4n,
  7n,
  8n,
  255n,
  4096n,
  65_536n,
  0xffffn,
  0xffffffffn,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const sizes = [
  0,
  1,
  511,
  512,
  4096,
  64 * KiB,
  68 * KiB - 1,
  68 * KiB,
  68 * KiB + 512,
  128 * KiB,
  MiB,
  2 * MiB,
  3 * MiB,
  64 * MiB,
  64 * MiB + 4096,
  64 * MiB + 4608,
  114_294_784,
  128 * MiB,
  GiB,
  256 * GiB,
  256 * GiB + 4096,
  256 * GiB + 4608,
  512 * GiB,
  TiB,
  4 * TiB + 512,
  8 * TiB,
  16 * TiB,
];

const blockAt = (sketch: Sketch, place: number): Uint8Array =>
  bytesOf(sketch, place, superblockBytes);

const whole = (block: Uint8Array): boolean => block.length === superblockBytes;

/** Somewhere that matters: a copy, the record of a format, the head, the end. */
function somewhere(random: Random, { sizeBytes }: Sketch): number {
  const near = random.pick([
    ...copyPlaces,
    intentPlace,
    0,
    sizeBytes - 4096,
    sizeBytes - MiB,
    2 * MiB,
    random.below(sizeBytes + 1),
    random.below(256 * KiB),
    128 * MiB,
    Math.floor(sizeBytes / 4),
  ]);
  return Math.max(0, near + random.below(4096) - (random.chance(4) ? 2048 : 0));
}

/** Changes one copy of the superblock, and two times of three makes its checksum right again. */
const inCopy =
  (change: (random: Random, block: Uint8Array) => Uint8Array): Mutation =>
  (random, sketch) => {
    const isAll = random.chance(4);
    const places: readonly number[] = isAll ? copyPlaces : [random.pick(copyPlaces)];
    const seal = !random.chance(3);
    return places.reduce<Sketch>((disk, place) => {
      const block = blockAt(disk, place);
      if (!whole(block)) return disk;
      const changed = change(random, block.slice());
      return write(disk, place, seal ? sealed(changed) : changed);
    }, sketch);
  };

const setField = inCopy((random, block) => {
  const name = random.pick(fieldNames);
  const value = number(block, name) + random.pick([-1n, 1n, 0n]);
  return withNumber(block, name, random.chance(3) ? value : random.pick(extremes));
});

const setSize: Mutation = inCopy((random, block) =>
  withNumber(block, "deviceBytes", BigInt(random.pick(sizes)) + random.pick([0n, 1n, 512n, -512n])),
);

const setChecksumType = inCopy((random, block) =>
  withNumber(block, "checksumType", BigInt(random.below(checksumTypes + 1))),
);

const setIdentity = inCopy((random, block) => {
  const name = random.pick(["fsid", "deviceFsid", "deviceUuid", "metadataUuid"] as const);
  bytesIn(block, name).fill(random.pick([0, 0xf5, 0x0a, random.below(256)]));
  return block;
});

const flipBit: Mutation = (random, sketch) => {
  const at = somewhere(random, sketch);
  const byte = bytesOf(sketch, at, 1)[0] ?? 0;
  return write(sketch, at, Uint8Array.of(byte ^ (1 << random.below(8))));
};

const flipInCopy: Mutation = (random, sketch) => {
  const at = random.pick(copyPlaces) + random.below(superblockBytes);
  const byte = bytesOf(sketch, at, 1)[0] ?? 0;
  return write(sketch, at, Uint8Array.of(byte ^ random.below(256)));
};

const fillRun: Mutation = (random, sketch) => {
  const length = 1 + random.below(random.pick([8, 512, 4096, 9000]));
  const run = random.chance(2) ? new Uint8Array(length) : random.bytes(length);
  return write(sketch, somewhere(random, sketch), run);
};

const copyOver: Mutation = (random, sketch) => {
  const [from, to] = [random.pick(copyPlaces), random.pick(copyPlaces)];
  return write(sketch, to, blockAt(sketch, from));
};

const swapCopies: Mutation = (random, sketch) => {
  const [one, two] = [random.pick(copyPlaces), random.pick(copyPlaces)];
  const [first, second] = [blockAt(sketch, one), blockAt(sketch, two)];
  return whole(first) && whole(second) ? write(write(sketch, one, second), two, first) : sketch;
};

/** A copy of this or another filesystem that belongs where it is put. */
const staleMirror: Mutation = (random, sketch, other) => {
  const place = random.pick(copyPlaces);
  const block = blockAt(random.chance(2) ? other : sketch, random.pick(copyPlaces));
  const moved = whole(block)
    ? withNumber(block, "bytenr", BigInt(place))
    : freshSuperblock(place, sketch.sizeBytes, random.below(256));
  return write(sketch, place, sealed(withNumber(moved, "generation", BigInt(random.below(20)))));
};

const magicOnly: Mutation = (random, sketch) => {
  const place = random.pick(copyPlaces);
  const magic = new TextEncoder().encode(random.pick(["_BHRfS_M", "!BHRfS_M", "_BHRfS_N"]));
  const emptied = random.chance(2) ? write(sketch, place, new Uint8Array(superblockBytes)) : sketch;
  return write(emptied, place + 64, magic);
};

const zeroCopy: Mutation = (random, sketch) =>
  write(sketch, random.pick(copyPlaces), new Uint8Array(superblockBytes));

const newLog: Mutation = (random, sketch) => {
  const block = blockAt(sketch, primaryPlace);
  if (!whole(block)) return sketch;
  const logged = withNumber(block, "logRoot", BigInt(random.below(GiB)));
  return write(
    sketch,
    primaryPlace,
    sealed(withNumber(logged, "logRootLevel", BigInt(random.below(9)))),
  );
};

const resize: Mutation = (random, sketch) => {
  const size = random.chance(3)
    ? random.below(random.pick([MiB, GiB, 16 * TiB]))
    : random.pick(sizes) + random.pick([0, 0, 1, 512, -512, 4096]);
  return resized(sketch, Math.max(0, size));
};

const foreignMark: Mutation = (random, sketch) => {
  const mark = random.pick(foreignMarks);
  return mark.pieces.reduce(
    (disk, [place, bytes]) => write(disk, place(sketch.sizeBytes), bytes),
    sketch,
  );
};

const intent: Mutation = (random, sketch) => {
  const { sizeBytes } = sketch;
  const said = random.chance(3) ? sizeBytes + random.pick([512, 4096, -4096, 1]) : sizeBytes;
  const record = intentRecord(Math.max(0, said), random.bytes(16));
  if (random.chance(5)) {
    const at = random.below(512);
    record[at] = (record[at] ?? 0) ^ (1 << random.below(8));
  }
  const place = random.chance(8) ? somewhere(random, sketch) : intentPlace;
  return write(sketch, place, record);
};

const readError: Mutation = (random, sketch) => {
  const start = somewhere(random, sketch);
  const end = start + 1 + random.below(random.pick([1, 512, 4096, MiB, TiB]));
  return { ...sketch, unreadable: [...sketch.unreadable, [start, end]] };
};

const splice: Mutation = (random, sketch, other) => {
  const place = random.pick([...copyPlaces, 0, 4096, intentPlace]);
  const from = random.chance(2) ? place : intentPlace;
  return write(sketch, place, bytesOf(other, from, 4096));
};

/** A byte where only zeros prove a disk blank. */
const trace: Mutation = (random, sketch) => {
  const [start, end] = random.pick([...placesToBeZero(sketch)]);
  const at = Math.max(0, start) + random.below(Math.max(1, end - start));
  return write(sketch, at, Uint8Array.of(1 + random.below(255)));
};

const lostMirrors: Mutation = (_random, sketch) =>
  mirrorPlaces.reduce((disk, place) => write(disk, place, new Uint8Array(4096)), sketch);

const asFile: Mutation = (_random, sketch) => ({ ...sketch, isFile: !sketch.isFile });

const mutations: readonly (readonly [name: string, mutation: Mutation])[] = [
  ["flip a bit", flipBit],
  ["flip in a copy", flipInCopy],
  ["flip in a copy", flipInCopy],
  ["fill a run", fillRun],
  ["set a field", setField],
  ["set a field", setField],
  ["set the size", setSize],
  ["set the checksum type", setChecksumType],
  ["set an identity", setIdentity],
  ["copy a copy", copyOver],
  ["swap copies", swapCopies],
  ["a stale mirror", staleMirror],
  ["the magic only", magicOnly],
  ["zero a copy", zeroCopy],
  ["wipe", (_random, sketch) => wipe(sketch)],
  ["a new log", newLog],
  ["resize", resize],
  ["a foreign mark", foreignMark],
  ["an intent record", intent],
  ["a read error", readError],
  ["splice", splice],
  ["a trace", trace],
  ["lose the mirrors", lostMirrors],
  ["as a file", asFile],
];

/** Up to five changes, and their names. */
export function mutate(
  random: Random,
  sketch: Sketch,
  other: Sketch,
): { readonly sketch: Sketch; readonly done: readonly string[] } {
  let mutated = sketch;
  const done: string[] = [];
  for (let count = 1 + random.below(5); count > 0; count--) {
    const [name, mutation] = random.pick(mutations);
    mutated = mutation(random, mutated, other);
    done.push(name);
  }
  return { sketch: mutated, done };
}
