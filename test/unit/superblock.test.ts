import { describe, expect, test } from "bun:test";
import { checksumName, checksumOf } from "../../src/btrfs/checksum.ts";
import {
  copyOffsets,
  isChecksumRight,
  isValidCopy,
  parseSuperblock,
  withFields,
} from "../../src/btrfs/superblock.ts";
import { hex } from "../../src/linux/text.ts";
import { GiB, KiB, MiB, TiB } from "./support/sparse-disk.ts";
import {
  crc32c,
  field,
  lastMirrorPlace,
  mirrorPlace,
  primaryPlace,
  superblock,
} from "./support/superblock.ts";

const sound = parseSuperblock(superblock());

describe("the copies that a device has, by its size", () => {
  test.each([
    [0, []],
    [64 * KiB, []],
    [68 * KiB, []],
    [68 * KiB + 512, [primaryPlace]],
    [64 * MiB + 4096, [primaryPlace]],
    [64 * MiB + 4608, [primaryPlace, mirrorPlace]],
    [256 * GiB + 4096, [primaryPlace, mirrorPlace]],
    [256 * GiB + 4608, [primaryPlace, mirrorPlace, lastMirrorPlace]],
    [8 * TiB, [primaryPlace, mirrorPlace, lastMirrorPlace]],
  ] as const)("%i bytes", (size, offsets) => {
    expect(copyOffsets(size)).toEqual([...offsets]);
  });
});

describe("a checksum", () => {
  test("of crc32c is the one of RFC 3720, over all but the 32 bytes that hold it", () => {
    const block = superblock();
    const digest = checksumOf(block, 0) ?? new Uint8Array();
    expect(digest).toHaveLength(4);
    expect(new DataView(digest.buffer).getUint32(digest.byteOffset, true)).toBe(
      crc32c(block.subarray(32)),
    );
    // RFC 3720, B.4: 32 bytes of zeros give aa 36 91 8a.
    expect([...(checksumOf(new Uint8Array(64), 0) ?? [])]).toEqual([0xaa, 0x36, 0x91, 0x8a]);
  });

  test.each([
    // xxHash64 of "", seed 0; FIPS 180-4; RFC 7693 with 32 bytes of digest.
    [1, "99e9d85137db46ef"],
    [2, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    [3, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"],
  ] as const)("of type %i is the published one of nothing", (type, digest) => {
    const computed = checksumOf(new Uint8Array(32), type) ?? new Uint8Array();
    expect(hex(computed)).toBe(digest);
  });

  test.each([4, 9, 255, 65_535])("of the unknown type %i is never right", (type) => {
    expect(checksumName(type)).toBeUndefined();
    expect(checksumOf(new Uint8Array(4096), type)).toBeNull();
    expect(isChecksumRight(parseSuperblock(superblock({ checksumType: type })))).toBe(false);
  });

  test("of zeros is not zeros: an empty sector is no superblock", () => {
    const empty = parseSuperblock(new Uint8Array(4096));
    expect(isChecksumRight(empty)).toBe(false);
    expect(isValidCopy(empty, primaryPlace)).toBe(false);
  });
});

test("a block that is too short is refused", () => {
  expect(() => parseSuperblock(new Uint8Array(4095))).toThrow(RangeError);
});

test("a valid copy has the magic, its own address and the right checksum, all three", () => {
  const valid = (parts: Parameters<typeof superblock>[0]) =>
    isValidCopy(parseSuperblock(superblock(parts)), primaryPlace);
  expect(valid({})).toBe(true);
  expect(valid({ magic: "!BHRfS_M" })).toBe(false);
  expect(valid({ address: mirrorPlace })).toBe(false);
  const block = superblock();
  block[field.label] = 0x41;
  expect(isValidCopy(parseSuperblock(block), primaryPlace)).toBe(false);
});

test("a label may fill its field, and ends at its first NUL", () => {
  const block = superblock();
  block.fill(0x61, field.label, field.label + 256);
  expect(parseSuperblock(block).label).toBe("a".repeat(256));
  block[field.label + 3] = 0;
  expect(parseSuperblock(block).label).toBe("aaa");
});

describe("a copy with fields changed", () => {
  test("differs in them and in its checksum alone", () => {
    const moved = withFields(sound, { address: BigInt(mirrorPlace) });
    expect(isValidCopy(moved, mirrorPlace)).toBe(true);
    const different = [...moved.block.keys()].filter((i) => moved.block[i] !== sound.block[i]);
    // Spec: exactly the bytes 0 to 3, 50 and 51 differ between the copies of a fresh filesystem.
    expect(different).toEqual([0, 1, 2, 3, 50, 51]);
  });

  test("leaves the copy it was made from alone", () => {
    const before = sound.block.slice();
    withFields(sound, { generation: 99n });
    expect(sound.block).toEqual(before);
  });

  test.each([1, 2, 3])("has a checksum of the new type %i", (checksumType) => {
    expect(isValidCopy(withFields(sound, { checksumType }), primaryPlace)).toBe(true);
  });

  test("of another checksum type has no digits of the old checksum left", () => {
    const long = withFields(sound, { checksumType: 2 });
    const short = withFields(long, { checksumType: 0 });
    expect([...short.block.subarray(4, 32)]).toEqual(new Array(28).fill(0));
  });

  test("cannot have a checksum of an unknown type", () => {
    expect(() => withFields(sound, { checksumType: 9 })).toThrow(RangeError);
  });
});
