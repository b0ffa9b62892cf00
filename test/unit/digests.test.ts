import { expect, test } from "bun:test";
import { digest } from "../../src/btrfs/digests.ts";
import { crc32c } from "../../src/linux/bytes.ts";
import { hex } from "../../src/linux/text.ts";

const digits = new TextEncoder().encode("123456789");

test("CRC-32C has the check value of its catalogue (CRC-32/ISCSI)", () => {
  expect(crc32c(digits)).toBe(0xe3069283);
  expect(crc32c(new Uint8Array())).toBe(0);
});

// By Bun.hash.xxHash64, and by `hashlib` of Python, blake2b with 32 bytes.
test.each([
  ["xxhash64", "83aee640db41b88c"],
  ["sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"],
  ["blake2b", "16e0bf1f85594a11e75030981c0b670370b3ad83a43f49ae58a2fd6f6513cde9"],
] as const)("%s is the one of other programs", (name, expected) => {
  expect(hex(digest(name, digits))).toBe(expected);
});
