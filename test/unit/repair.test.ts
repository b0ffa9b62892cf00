import { describe, expect, test } from "bun:test";
import { isValidCopy, parseSuperblock } from "../../src/btrfs/superblock.ts";
import { areEqual } from "../../src/linux/bytes.ts";
import { rebuildPrimary } from "../../src/volume/rebuilt-primary.ts";
import { repairPrimary } from "../../src/volume/repair.ts";
import { fakeKernel } from "./support/fake-kernel.ts";
import {
  field,
  filled,
  flipped,
  mirrorPlace,
  primaryPlace,
  superblock,
} from "./support/superblock.ts";

/** What the primary was before its damage, after an fsync that only it knows of. */
const withLog = superblock({ logRoot: 30_572_544, logRootLevel: 1 });
const withoutLog = superblock();
const mirror = parseSuperblock(superblock({ address: mirrorPlace }));
const rebuilt = (damaged: Uint8Array) => rebuildPrimary(parseSuperblock(damaged), mirror);

describe("whatever the damage, what is written is a sound primary of that filesystem", () => {
  const cases: readonly (readonly [what: string, Uint8Array])[] = [
    ["one byte", flipped(withLog, 1000)],
    ["zeros", new Uint8Array(4096)],
    ["garbage", new Uint8Array(4096).fill(0x77)],
    ["the mirror itself", mirror.block],
    ["an unknown checksum type", filled(withLog, field.checksumType, 2, 9)],
  ];
  test.each(cases)("%s", (_what, damaged) => {
    const { superblock: result } = rebuilt(damaged);
    expect(isValidCopy(result, primaryPlace)).toBe(true);
    expect(result.fsid).toBe(mirror.fsid);
    expect(result.generation).toBe(mirror.generation);
  });
});

describe("an fsync log that only the damaged primary pointed to", () => {
  /** Those bytes of the block that say where the log is. */
  const isLog = (offset: number): boolean =>
    (offset >= field.logRoot && offset < field.logRoot + 8) || offset === field.logRootLevel;

  test("is kept, whichever other byte was flipped, bit for bit", () => {
    const wrong: number[] = [];
    for (let offset = 0; offset < 4096; offset++) {
      // Padding of the checksum: such a primary is valid and never comes here.
      if (isLog(offset) || (offset >= 4 && offset < 32)) continue;
      const { log, superblock: result } = rebuilt(flipped(withLog, offset));
      if (log !== "exact" || !areEqual(result.block, withLog)) wrong.push(offset);
    }
    expect(wrong).toEqual([]);
  });

  test("is kept when much was damaged but the checksum and the log's address stand", () => {
    const { log, superblock: result } = rebuilt(filled(withLog, 800, 3000, 0xee));
    expect(log).toBe("exact");
    expect(result.block).toEqual(withLog);
  });

  test("is reported as lost when its own address was hit: no wrong one is written", () => {
    for (let offset = 0; offset < 4096; offset++) {
      if (!isLog(offset)) continue;
      const { log, superblock: result } = rebuilt(flipped(withLog, offset));
      expect(log).toBe("lost");
      expect(result.logRoot).toBe(0n);
    }
  });

  test.each([
    ["zeros", new Uint8Array(4096)],
    ["garbage", new Uint8Array(4096).fill(0x77)],
    ["a checksum of which two bytes were hit", flipped(flipped(withLog, 0), 1)],
    ["a checksum byte and another byte hit", flipped(flipped(withLog, 0), 1000)],
    ["an address and another byte hit", flipped(flipped(withLog, field.logRoot), 1000)],
  ])("is reported as lost behind %s", (_what, damaged) => {
    const { log, superblock: result } = rebuilt(damaged);
    expect(log).toBe("lost");
    expect(result.logRoot).toBe(0n);
    expect(result.logRootLevel).toBe(0);
  });
});

test("a log that is lost is still reported as lost when the power failed between the two writes", () => {
  const damaged = new Uint8Array(4096);
  const writes: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  const kernel = fakeKernel({
    open: () => 5,
    close: () => undefined,
    fsync: () => undefined,
    pread(_fd, buffer) {
      buffer.set(damaged);
      return buffer.length;
    },
    pwrite(_fd, bytes, offset) {
      writes.push({ offset, bytes: bytes.slice() });
      return bytes.length;
    },
  });
  repairPrimary(kernel, 3, parseSuperblock(damaged), rebuilt(damaged).superblock);
  const [first, second] = writes;
  if (first === undefined || second === undefined) throw new Error("there were not two writes");
  const between = damaged.slice();
  between.set(first.bytes, first.offset - primaryPlace);
  expect(parseSuperblock(between).fsid).toBe(mirror.fsid);
  expect(rebuilt(between).log).toBe("lost");
});

describe("without a log", () => {
  test("nothing is said to be lost, whichever byte was flipped", () => {
    const wrong: number[] = [];
    for (let offset = 0; offset < 4096; offset++) {
      if (offset >= 4 && offset < 32) continue;
      const { log, superblock: result } = rebuilt(flipped(withoutLog, offset));
      if (log !== "exact" || !areEqual(result.block, withoutLog)) wrong.push(offset);
    }
    expect(wrong).toEqual([]);
  });

  test("of an older generation than the primary's, the mirror proves nothing", () => {
    const newer = superblock({ generation: 7 });
    expect(rebuilt(flipped(newer, 1000)).log).toBe("lost");
  });
});
