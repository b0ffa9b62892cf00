import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseSuperblock } from "../../src/btrfs/superblock.ts";
import { diagnose, hasSeveralDevices } from "../../src/volume/diagnosis.ts";
import { MiB, sparseDisk } from "./support/sparse-disk.ts";
import { copyAt, primaryPlace, seal, superblock } from "./support/superblock.ts";

/** Trees written by hand, from uapi/linux/btrfs_tree.h: every address is the place on the disk. */
const NODE = 16_384;
const place = {
  chunks: 5 * MiB,
  roots: 5 * MiB + NODE,
  extents: 5 * MiB + 2 * NODE,
  devices: 5 * MiB + 3 * NODE,
  log: 5 * MiB + 4 * NODE,
  logOfTree: 5 * MiB + 5 * NODE,
  oldRoots: 5 * MiB + 6 * NODE,
} as const;
type Name = keyof typeof place;

type Key = readonly [objectId: bigint, type: number, offset: bigint];
type Item = readonly [key: Key, data: Uint8Array];

const u64 = (bytes: Uint8Array, at: number, value: bigint | number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(at, BigInt(value), true);
const u32 = (bytes: Uint8Array, at: number, value: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value, true);

function writeKey(bytes: Uint8Array, at: number, [objectId, type, offset]: Key): void {
  u64(bytes, at, objectId);
  bytes[at + 8] = type;
  u64(bytes, at + 9, offset);
}

function block(at: number, generation: number, level: number, count: number): Uint8Array {
  const bytes = new Uint8Array(NODE);
  bytes.fill(0xf5, 32, 48);
  u64(bytes, 48, at);
  u64(bytes, 80, generation);
  u32(bytes, 96, count);
  bytes[100] = level;
  return bytes;
}

function leaf(at: number, generation: number, items: readonly Item[]): Uint8Array {
  const bytes = block(at, generation, 0, items.length);
  let end = NODE - 101;
  for (const [i, [key, data]] of items.entries()) {
    end -= data.length;
    bytes.set(data, 101 + end);
    writeKey(bytes, 101 + i * 25, key);
    u32(bytes, 101 + i * 25 + 17, end);
    u32(bytes, 101 + i * 25 + 21, data.length);
  }
  return seal(bytes);
}

/** A block whose every pointer leads to `to`. */
function node(at: number, generation: number, level: number, to: number, count = 490): Uint8Array {
  const bytes = block(at, generation, level, count);
  for (let i = 0; i < count; i++) {
    writeKey(bytes, 101 + i * 33, [BigInt(i), 0, 0n]);
    u64(bytes, 101 + i * 33 + 17, to);
    u64(bytes, 101 + i * 33 + 25, generation);
  }
  return seal(bytes);
}

function root(at: number, generation: number): Uint8Array {
  const bytes = new Uint8Array(439);
  u64(bytes, 160, generation);
  u64(bytes, 176, at);
  return bytes;
}

/** One chunk that is all of the disk, in one piece. */
function chunk(): Uint8Array {
  const bytes = new Uint8Array(80);
  u64(bytes, 0, 64 * MiB);
  u64(bytes, 24, 6);
  new DataView(bytes.buffer).setUint16(44, 1, true);
  u64(bytes, 48, 1);
  return bytes;
}

const chunkKey: Key = [256n, 228, 0n];
const rootsOf = (at: number, generation: number): Uint8Array =>
  leaf(at, generation, [
    [[2n, 132, 0n], root(place.extents, 3)],
    [[4n, 132, 0n], root(place.devices, 3)],
  ]);

interface Making {
  readonly devices?: number;
  readonly replaceState?: number;
  readonly logRoot?: boolean;
  readonly deviceCount?: number;
}

function blocksOf({ devices = 1, replaceState = 0 }: Making): Record<Name, Uint8Array> {
  const device: Item[] = Array.from({ length: devices }, (_, i) => [
    [1n, 216, BigInt(i + 1)],
    new Uint8Array(98),
  ]);
  const replace = new Uint8Array(72);
  u64(replace, 32, replaceState);
  return {
    chunks: leaf(place.chunks, 2, [...device, [chunkKey, chunk()]]),
    roots: rootsOf(place.roots, 6),
    oldRoots: rootsOf(place.oldRoots, 5),
    extents: leaf(place.extents, 3, []),
    devices: leaf(place.devices, 3, [[[0n, 250, 0n], replace]]),
    log: leaf(place.log, 7, [[[2n ** 64n - 6n, 132, 5n], root(place.logOfTree, 7)]]),
    logOfTree: leaf(place.logOfTree, 7, [[[256n, 1, 0n], new Uint8Array(160)]]),
  };
}

function superblockOf({ logRoot = false, deviceCount = 1 }: Making) {
  const parts = { logRoot: logRoot ? place.log : 0, deviceCount };
  const bytes = superblock({ ...parts, incompatFlags: 0x341 });
  u64(bytes, 80, place.roots);
  u64(bytes, 88, place.chunks);
  u32(bytes, 160, 97);
  u64(bytes, 164, 2);
  writeKey(bytes, 811, chunkKey);
  bytes.set(chunk(), 811 + 17);
  bytes.fill(0, 2859, 3531);
  u64(bytes, 2859, place.oldRoots);
  u64(bytes, 2859 + 8, 5);
  return parseSuperblock(seal(bytes));
}

const diskOf = (blocks: Record<Name, Uint8Array>) =>
  sparseDisk({
    sizeBytes: 256 * MiB,
    pieces: Object.entries(blocks).map(([name, bytes]) => [place[name as Name], bytes] as const),
  });

function diagnosed(making: Making, ...broken: readonly Name[]) {
  const blocks = blocksOf(making);
  for (const name of broken) blocks[name][500] = 1;
  return diagnose(diskOf(blocks), superblockOf(making));
}

describe("what keeps a filesystem from being mounted is found on its disk", () => {
  test("nothing, where all is as it must be", () => {
    expect(diagnosed({})).toBeNull();
    expect(diagnosed({ logRoot: true })).toBeNull();
    expect(diagnosed({ replaceState: 2 })).toBeNull();
  });

  test.each([
    ["a chunk tree", [{}, "chunks"], { kind: "chunk-tree" }],
    ["the tree of trees", [{}, "roots"], { kind: "root-tree", hasBackup: true }],
    ["both", [{}, "roots", "oldRoots"], { kind: "root-tree", hasBackup: false }],
    ["an extent tree", [{}, "extents"], { kind: "trees", names: ["extent"], hasBackup: false }],
    ["a device tree", [{}, "devices"], { kind: "trees", names: ["device"], hasBackup: true }],
    ["a log", [{ logRoot: true }, "log"], { kind: "log" }],
    ["a tree of a log", [{ logRoot: true }, "logOfTree"], { kind: "log" }],
    ["a replace that runs", [{ replaceState: 1 }], { kind: "replace" }],
    ["a replace that was suspended", [{ replaceState: 4 }], { kind: "replace" }],
    ["a second device", [{ devices: 2 }], { kind: "devices", count: 2 }],
  ] as const)("%s", (_what, [making, ...broken], expected) => {
    expect(diagnosed(making, ...broken)).toEqual(expected as never);
  });

  test("a log that the superblock does not name is nobody's", () => {
    expect(diagnosed({}, "log", "logOfTree")).toBeNull();
  });

  test("of a block from another time than its parent says", () => {
    const blocks = { ...blocksOf({}), devices: leaf(place.devices, 2, []) };
    expect(diagnose(diskOf(blocks), superblockOf({}))).toMatchObject({ names: ["device"] });
  });
});

describe("several devices are counted where they are written down", () => {
  const several = (making: Making, ...broken: readonly Name[]): boolean => {
    const blocks = blocksOf(making);
    for (const name of broken) blocks[name][500] = 1;
    return hasSeveralDevices(diskOf(blocks), superblockOf(making));
  };

  test("a wrong number in the superblock is none", () => {
    expect(several({ deviceCount: 3 })).toBeFalse();
    expect(several({ deviceCount: 2, devices: 2 })).toBeTrue();
    expect(several({ deviceCount: 5, devices: 2 })).toBeTrue();
  });

  test("of one that says 1 nothing is read", () => {
    const disk = diskOf(blocksOf({}));
    expect(hasSeveralDevices(disk, superblockOf({}))).toBeFalse();
    expect(disk.reads).toBeEmpty();
  });

  test("where they cannot be counted, the superblock is believed", () => {
    expect(several({ deviceCount: 2 }, "chunks")).toBeTrue();
    expect(several({ deviceCount: 2, devices: 0 })).toBeTrue();
  });
});

describe("whatever stands on the disk, looking ends", () => {
  test("blocks that all lead to the same one", () => {
    const all = blocksOf({});
    all.logOfTree = leaf(place.logOfTree, 7, []);
    const pieces: [number, Uint8Array][] = Object.entries(all).map(([name, bytes]) => [
      place[name as Name],
      bytes,
    ]);
    const at = (level: number): number => (level === 0 ? place.logOfTree : 6 * MiB + level * NODE);
    for (let level = 1; level <= 7; level++) {
      pieces.push([at(level), node(at(level), 7, level, at(level - 1))]);
    }
    const top = root(at(7), 7);
    top[238] = 7;
    pieces.push([place.log, leaf(place.log, 7, [[[2n ** 64n - 6n, 132, 5n], top]])]);
    const began = performance.now();
    const disk = sparseDisk({ sizeBytes: 256 * MiB, pieces });
    expect(diagnose(disk, superblockOf({ logRoot: true }))).toBeNull();
    expect(disk.reads.length).toBeGreaterThan(1000);
    expect(performance.now() - began).toBeLessThan(20_000);
  }, 40_000);

  test("a chunk tree that lies where only it could say, and superblocks with any fields", () => {
    const disk = diskOf(blocksOf({}));
    const fields = fc.array(
      fc.tuple(fc.integer({ min: 32, max: 4088 }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(fields, (changes) => {
        const bytes = superblockOf({ logRoot: true, deviceCount: 2 }).block.slice();
        for (const [at, value] of changes) u64(bytes, at, value);
        const changed = parseSuperblock(seal(bytes));
        diagnose(disk, changed);
        hasSeveralDevices(disk, changed);
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test("blocks with any fields under a right checksum", () => {
    const names = fc.constantFrom(...(Object.keys(place) as Name[]));
    const change = fc.tuple(
      names,
      fc.integer({ min: 32, max: 400 }),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const blocks = blocksOf({});
        for (const [name, at, value] of changes) blocks[name][at] = value;
        for (const bytes of Object.values(blocks)) seal(bytes);
        diagnose(diskOf(blocks), superblockOf({ logRoot: true }));
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test("a disk that gives errors, or ends too early", () => {
    const found = superblockOf({});
    const failing = sparseDisk({
      sizeBytes: 256 * MiB,
      pieces: [copyAt(primaryPlace)],
      unreadable: [[MiB, 200 * MiB]],
    });
    expect(diagnose(failing, found)).toEqual({ kind: "chunk-tree" });
    const short = sparseDisk({ sizeBytes: MiB, pieces: [] });
    expect(diagnose(short, found)).toEqual({ kind: "chunk-tree" });
  });
});
