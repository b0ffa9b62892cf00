import { describe, expect, test } from "bun:test";
import { listSubvolumes } from "../../src/btrfs/subvolume-list.ts";
import { type Key, nextKey } from "../../src/btrfs/tree-search.ts";
import { fromUtf8 } from "../../src/linux/text.ts";
import { fakeKernel } from "./support/fake-kernel.ts";

const most = 0xffff_ffff_ffff_ffffn;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("the next key is the whole key plus one", () => {
  const rows: readonly (readonly [Key, Key | null])[] = [
    [
      { objectId: 256n, type: 144, offset: 5n },
      { objectId: 256n, type: 144, offset: 6n },
    ],
    [
      { objectId: 256n, type: 144, offset: 2n ** 53n },
      { objectId: 256n, type: 144, offset: 2n ** 53n + 1n },
    ],
    [
      { objectId: 256n, type: 144, offset: most },
      { objectId: 256n, type: 145, offset: 0n },
    ],
    [
      { objectId: 256n, type: 255, offset: most },
      { objectId: 257n, type: 0, offset: 0n },
    ],
    [{ objectId: most, type: 255, offset: most }, null],
  ];
  test.each(rows)("%p", (key, next) => {
    expect(nextKey(key)).toEqual(next);
  });
});

interface Item extends Key {
  readonly treeId: bigint;
  readonly data: Uint8Array;
}

const fieldsAt = (size: number, numbers: readonly (readonly [number, bigint, 2 | 8])[]) => {
  const data = new Uint8Array(size);
  const view = new DataView(data.buffer);
  for (const [at, value, width] of numbers) {
    if (width === 8) view.setBigUint64(at, value, true);
    else view.setUint16(at, Number(value), true);
  }
  return data;
};

const joined = (head: Uint8Array, name: Uint8Array): Uint8Array =>
  Uint8Array.from([...head, ...name]);

const bytesOf = (name: string | Uint8Array): Uint8Array =>
  typeof name === "string" ? ascii(name) : name;

/** A subvolume with its name in a directory of another. */
function subvolume(
  id: bigint,
  parentId: bigint,
  name: string | Uint8Array,
  directoryId = 256n,
  claimedLength?: number,
): Item {
  const bytes = bytesOf(name);
  const length = BigInt(claimedLength ?? bytes.length);
  const head = fieldsAt(18, [
    [0, directoryId, 8],
    [16, length, 2],
  ]);
  return { treeId: 1n, objectId: id, type: 144, offset: parentId, data: joined(head, bytes) };
}

/** A directory of a subvolume with its name in another directory of it. */
function directory(treeId: bigint, id: bigint, name: string | Uint8Array, parentId = 256n): Item {
  const bytes = bytesOf(name);
  const head = fieldsAt(10, [[8, BigInt(bytes.length), 2]]);
  return { treeId, objectId: id, type: 12, offset: parentId, data: joined(head, bytes) };
}

/** What lies between the items that are asked for. */
const rootItem = (id: bigint): Item => ({
  treeId: 1n,
  objectId: id,
  type: 132,
  offset: 0n,
  data: new Uint8Array(439),
});

const isBefore = (one: Key, other: Key): boolean =>
  one.objectId !== other.objectId
    ? one.objectId < other.objectId
    : one.type !== other.type
      ? one.type < other.type
      : one.offset < other.offset;

/** TREE_SEARCH_V2 of these items, `atOnce` of them in one answer; what is there may depend on the call. */
function treeOf(items: (call: number) => readonly Item[], atOnce = 2) {
  let calls = 0;
  const limit = 1000;
  const kernel = fakeKernel({
    ioctl(_fd, _request, argument) {
      if (typeof argument === "number") throw new Error("a number");
      calls++;
      if (calls > limit) throw new Error("it does not end");
      const view = new DataView(argument.buffer);
      const treeId = view.getBigUint64(0, true);
      const [leastId, mostId, leastOffset, mostOffset] = [8, 16, 24, 32].map((at) =>
        view.getBigUint64(at, true),
      ) as [bigint, bigint, bigint, bigint];
      const least = { objectId: leastId, type: view.getUint32(56, true), offset: leastOffset };
      const last = { objectId: mostId, type: view.getUint32(60, true), offset: mostOffset };
      const found = items(calls)
        .filter((item) => item.treeId === treeId && !isBefore(item, least) && !isBefore(last, item))
        .toSorted((one, other) => (isBefore(one, other) ? -1 : 1))
        .slice(0, atOnce);
      view.setUint32(64, found.length, true);
      let at = 112;
      for (const { objectId, type, offset, data } of found) {
        view.setBigUint64(at + 8, objectId, true);
        view.setBigUint64(at + 16, offset, true);
        view.setUint32(at + 24, type, true);
        view.setUint32(at + 28, data.length, true);
        argument.set(data, at + 32);
        at += 32 + data.length;
      }
      return 0;
    },
  });
  return { kernel, calls: () => calls };
}

const pathsOf = (...items: readonly Item[]): readonly string[] =>
  listSubvolumes(treeOf(() => items).kernel, 3).map(({ path }) => path);

describe("a list of subvolumes", () => {
  test("has the whole path of each, through directories and other subvolumes", () => {
    const items = [
      rootItem(256n),
      subvolume(256n, 5n, "top"),
      rootItem(257n),
      subvolume(257n, 256n, "inner", 300n),
      directory(256n, 300n, "b", 299n),
      directory(256n, 299n, "a"),
      rootItem(258n),
      subvolume(258n, 5n, "other", 256n),
    ];
    for (const atOnce of [1, 2, 100]) {
      expect(listSubvolumes(treeOf(() => items, atOnce).kernel, 3)).toEqual([
        { id: 256n, parentId: 5n, path: "top" },
        { id: 257n, parentId: 256n, path: "top/a/b/inner" },
        { id: 258n, parentId: 5n, path: "other" },
      ]);
    }
  });

  test("ends where an item of another type is the last of an answer", () => {
    // With the type that is asked for and the offset of the item, the search would begin anew.
    const later: Item = { ...rootItem(256n), type: 156, offset: 300n };
    expect(pathsOf(subvolume(256n, 5n, "a"), later, subvolume(300n, 256n, "b"))).toEqual([
      "a",
      "a/b",
    ]);
  });

  test("keeps the bytes of a name that is no UTF-8", () => {
    const name = Uint8Array.of(0x61, 0xff, 0xfe);
    const other = Uint8Array.of(0x61, 0xff, 0xfd);
    expect(pathsOf(subvolume(256n, 5n, name), subvolume(257n, 5n, other))).toEqual([
      fromUtf8(name),
      fromUtf8(other),
    ]);
  });

  test("ends where two subvolumes seem to lie in one another, and has all others", () => {
    const items = [
      subvolume(256n, 257n, "a"),
      subvolume(257n, 256n, "b"),
      subvolume(258n, 257n, "below"),
      subvolume(259n, 5n, "apart"),
    ];
    expect(pathsOf(...items)).toEqual(["apart"]);
  });

  test("ends where a directory seems to lie in itself", () => {
    const items = [
      subvolume(256n, 5n, "a", 300n),
      directory(5n, 300n, "x", 301n),
      directory(5n, 301n, "y", 300n),
    ];
    expect(pathsOf(...items)).toEqual([]);
  });

  test("is made anew where something was moved meanwhile", () => {
    const moved = [subvolume(256n, 257n, "a"), subvolume(257n, 256n, "b")];
    const settled = [subvolume(256n, 257n, "a"), subvolume(257n, 5n, "b")];
    const { kernel } = treeOf((call) => (call <= 2 ? moved : settled));
    expect(listSubvolumes(kernel, 3).map(({ path }) => path)).toEqual(["b/a", "b"]);
  });

  test("leaves out what lies in something that is gone", () => {
    expect(pathsOf(subvolume(256n, 300n, "a"), subvolume(257n, 5n, "b", 999n))).toEqual([]);
  });

  test("of subvolumes in one another three hundred deep has all of them", () => {
    const depth = 300;
    const items = Array.from({ length: depth }, (_, i) =>
      subvolume(BigInt(256 + i), i === 0 ? 5n : BigInt(255 + i), "n"),
    );
    const paths = listSubvolumes(treeOf(() => items, 1000).kernel, 3);
    expect(paths.at(-1)?.path).toBe("n/".repeat(depth).slice(0, -1));
    expect(paths).toHaveLength(depth);
  });

  const crafted = ["../../../etc", "..", ".", "", "a/b", "a\0b"];
  test.each(crafted)("is refused for a subvolume called %p", (name) => {
    expect(() => pathsOf(subvolume(256n, 5n, name))).toThrow("EUCLEAN");
  });
  test.each(crafted)("is refused for one in a directory called %p", (name) => {
    const items = [subvolume(256n, 5n, "a", 300n), directory(5n, 300n, name)];
    expect(() => pathsOf(...items)).toThrow("EUCLEAN");
  });
  test("is refused for a name longer than its item", () => {
    expect(() => pathsOf(subvolume(256n, 5n, "a", 256n, 500))).toThrow("EUCLEAN");
  });
});
