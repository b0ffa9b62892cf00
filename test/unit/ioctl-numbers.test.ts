import { describe, expect, test } from "bun:test";
import { GET_DEV_STATS } from "../../src/btrfs/device-stats.ts";
import {
  DEV_INFO,
  encodeVolumeArguments,
  FS_INFO,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  GET_SUBVOL_INFO,
  noCopyOnWrite,
  RESIZE,
  SUBVOL_CREATE,
  SUBVOL_GETFLAGS,
  volumeNameLimitBytes,
} from "../../src/btrfs/ioctls.ts";
import { SPACE_INFO } from "../../src/btrfs/space.ts";
import { Errno, isErrno } from "../../src/linux/errno.ts";
import { io, ior, iow, iowr } from "../../src/linux/ioctl.ts";

describe("request numbers are those measured on x86-64 and arm64", () => {
  test.each([
    ["RESIZE", RESIZE, 0x50009403],
    ["SUBVOL_CREATE", SUBVOL_CREATE, 0x5000940e],
    ["SUBVOL_GETFLAGS", SUBVOL_GETFLAGS, 0x80089419],
    ["DEV_INFO", DEV_INFO, 0xd000941e],
    ["FS_INFO", FS_INFO, 0x8400941f],
    ["SPACE_INFO", SPACE_INFO, 0xc0109414],
    ["GET_DEV_STATS", GET_DEV_STATS, 0xc4089434],
    ["GET_SUBVOL_INFO", GET_SUBVOL_INFO, 0x81f8943c],
    ["FS_IOC_GETFLAGS", FS_IOC_GETFLAGS, 0x80086601],
    ["FS_IOC_SETFLAGS", FS_IOC_SETFLAGS, 0x40086602],
  ] as const)("%s", (_name, ours, measured) => {
    expect(ours).toBe(measured);
  });

  test("of every direction", () => {
    expect(io(0x94, 8)).toBe(0x9408);
    expect(ior(0x12, 114, 8)).toBe(0x80081272);
    expect(iow(0x94, 9, 4)).toBe(0x40049409);
    expect(iowr(0x58, 121, 24)).toBe(0xc0185879);
  });

  test("the flag of chattr +C", () => {
    expect(noCopyOnWrite).toBe(0x00800000);
  });
});

describe("the argument of RESIZE and SUBVOL_CREATE", () => {
  test("is a descriptor that is not used, the name, and NULs to 4096 bytes", () => {
    const bytes = encodeVolumeArguments("call", "2:max");
    expect(bytes).toHaveLength(4096);
    expect([...bytes.subarray(0, 14)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 50, 58, 109, 97, 120, 0]);
    expect(bytes.subarray(14).every((byte) => byte === 0)).toBe(true);
  });

  test("holds a name of 4087 bytes and its NUL", () => {
    const bytes = encodeVolumeArguments("call", "n".repeat(volumeNameLimitBytes));
    expect([bytes[8], bytes[4094], bytes[4095]]).toEqual([110, 110, 0]);
    expect(volumeNameLimitBytes).toBe(4087);
  });

  test.each([
    ["4088 letters", "n".repeat(4088)],
    ["10000 letters", "n".repeat(10_000)],
    ["4087 letters that are 4088 bytes", `${"n".repeat(4086)}ü`],
  ] as const)("%s are too long, as for the kernel", (_what, name) => {
    let thrown: unknown;
    try {
      encodeVolumeArguments("BTRFS_IOC_SUBVOL_CREATE", name);
    } catch (error) {
      thrown = error;
    }
    expect(isErrno(thrown, Errno.ENAMETOOLONG)).toBe(true);
    expect(String(thrown)).toContain("BTRFS_IOC_SUBVOL_CREATE");
  });
});
