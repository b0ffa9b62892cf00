import { beforeAll, describe, expect, test } from "bun:test";
import { checksumName, checksumOf } from "../../src/btrfs/checksum.ts";
import {
  isChecksumRight,
  isValidCopy,
  parseSuperblock,
  type Superblock,
  superblockBytes,
} from "../../src/btrfs/superblock.ts";
import type { Disk } from "../../src/volume/disk.ts";
import { rebuildPrimary } from "../../src/volume/rebuilt-primary.ts";
import { judge } from "../../src/volume/verdict.ts";
import { describeWhere, program } from "./support/gate.ts";
import { type Golden, makeGolden } from "./support/golden.ts";
import { flipped, mirrorPlace, primaryPlace } from "./support/superblock.ts";

const lacking = ["mkfs.btrfs", "btrfs"].filter((name) => program(name) === null).join(" and ");

const types = [
  { option: "crc32c", type: 0, name: "crc32c", digestBytes: 4 },
  { option: "xxhash", type: 1, name: "xxhash64", digestBytes: 8 },
  { option: "sha256", type: 2, name: "sha256", digestBytes: 32 },
  { option: "blake2", type: 3, name: "blake2b", digestBytes: 32 },
] as const;

const asDisk = (image: Uint8Array): Disk => ({
  sizeBytes: image.length,
  read: (offset, length) => image.slice(offset, offset + length),
});
const blockAt = (image: Uint8Array, place: number): Uint8Array =>
  image.slice(place, place + superblockBytes);

describeWhere(lacking === "" ? null : lacking, "what mkfs.btrfs makes", () => {
  describe.each(types)("with --csum $option", ({ option, type, name, digestBytes }) => {
    let golden: Golden;
    let primary: Superblock;
    let mirror: Superblock;
    const label = `gold & ${option} ü`;

    beforeAll(() => {
      golden = makeGolden("--csum", option, "--label", label);
      primary = parseSuperblock(blockAt(golden.image, primaryPlace));
      mirror = parseSuperblock(blockAt(golden.image, mirrorPlace));
    });

    test("is read field by field as btrfs-progs reads it", () => {
      for (const [copy, dump] of [
        [primary, golden.primary],
        [mirror, golden.mirror],
      ] as const) {
        const said = (field: string): string => dump.get(field) ?? `no ${field}`;
        expect({
          csum_type: `${copy.checksumType} (${name === "blake2b" ? "blake2" : name})`,
          bytenr: `${copy.address}`,
          fsid: copy.fsid,
          label: copy.label,
          generation: `${copy.generation}`,
          log_root: `${copy.logRoot}`,
          log_root_level: `${copy.logRootLevel}`,
          bytes_used: `${copy.usedBytes}`,
          num_devices: `${copy.deviceCount}`,
          compat_ro_flags: `0x${copy.compatReadOnlyFlags.toString(16)}`,
          incompat_flags: `0x${copy.incompatFlags.toString(16)}`,
          "dev_item.uuid": copy.deviceUuid,
          "dev_item.fsid": copy.deviceFsid,
          "dev_item.total_bytes": `${copy.deviceBytes}`,
          "dev_item.devid": `${copy.deviceId}`,
        }).toEqual({
          csum_type: said("csum_type"),
          bytenr: said("bytenr"),
          fsid: said("fsid"),
          label,
          generation: said("generation"),
          log_root: said("log_root"),
          log_root_level: said("log_root_level"),
          bytes_used: said("bytes_used"),
          num_devices: said("num_devices"),
          compat_ro_flags: said("compat_ro_flags"),
          incompat_flags: said("incompat_flags"),
          "dev_item.uuid": said("dev_item.uuid"),
          "dev_item.fsid": said("dev_item.fsid"),
          "dev_item.total_bytes": said("dev_item.total_bytes"),
          "dev_item.devid": said("dev_item.devid"),
        });
      }
    });

    test("has the checksum that we compute, and no more bytes of it", () => {
      expect(checksumName(type)).toBe(name);
      for (const copy of [primary, mirror]) {
        const digest = checksumOf(copy.block, type);
        expect(digest).toEqual(copy.block.slice(0, digestBytes));
        expect(copy.block.subarray(digestBytes, 32).every((byte) => byte === 0)).toBe(true);
      }
    });

    test("is valid at its own places only", () => {
      expect(isValidCopy(primary, primaryPlace)).toBe(true);
      expect(isValidCopy(mirror, mirrorPlace)).toBe(true);
      expect(isValidCopy(mirror, primaryPlace)).toBe(false);
      expect(isValidCopy(primary, mirrorPlace)).toBe(false);
    });

    test("is not valid with a byte flipped, at any place that counts", () => {
      const taken: number[] = [];
      for (let offset = 0; offset < superblockBytes; offset++) {
        if (offset >= digestBytes && offset < 32) continue;
        if (isChecksumRight(parseSuperblock(flipped(primary.block, offset)))) taken.push(offset);
      }
      expect(taken).toEqual([]);
    });

    test("is judged a Btrfs", () => {
      expect(judge(asDisk(golden.image), null)).toMatchObject({ kind: "btrfs" });
    });

    test("is rebuilt to the last bit from its mirror when the primary is zeroed", () => {
      const image = golden.image.slice();
      image.fill(0, primaryPlace, primaryPlace + superblockBytes);
      const verdict = judge(asDisk(image), null);
      if (verdict.kind !== "ambiguous") throw new Error(verdict.kind);
      const { superblock } = rebuildPrimary(verdict.primary, verdict.mirror);
      expect(Buffer.from(superblock.block).equals(primary.block)).toBe(true);
    });
  });

  test("its feature bits are read, and an empty label is none", () => {
    const golden = makeGolden("--metadata", "single", "--mixed");
    const copy = parseSuperblock(blockAt(golden.image, primaryPlace));
    expect(`0x${copy.incompatFlags.toString(16)}`).toBe(golden.primary.get("incompat_flags") ?? "");
    expect(copy.label).toBe("");
  });
});
