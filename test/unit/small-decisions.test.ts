import { describe, expect, test } from "bun:test";
import { cmdlineValue } from "../../src/volume/cmdline.ts";
import { chooseDevice } from "../../src/volume/device.ts";
import { decideImageBytes } from "../../src/volume/image.ts";
import { sizeText } from "../../src/volume/size.ts";
import { GiB, MiB, TiB } from "./support/sparse-disk.ts";

describe("an image is never made smaller", () => {
  test.each([
    ["new, nothing asked", 0, undefined, 64 * GiB],
    ["new, a size asked", 0, GiB, GiB],
    ["there, nothing asked", GiB, undefined, GiB],
    ["there, larger asked", GiB, 2 * GiB, 2 * GiB],
    ["there, the same asked", GiB, GiB, GiB],
    ["there, smaller asked", 2 * GiB, GiB, 2 * GiB],
    ["there, larger than the default", 100 * GiB, undefined, 100 * GiB],
  ] as const)("%s", (_what, fileBytes, sizeBytes, expected) => {
    expect(decideImageBytes(fileBytes, { sizeBytes, defaultBytes: 64 * GiB })).toBe(expected);
  });
});

describe("the kernel command line", () => {
  const key = "arcbox.docker_data_device";
  test.each([
    ["nothing", "", undefined],
    ["other tokens", "quiet root=/dev/vda ro", undefined],
    ["the token", `quiet ${key}=/dev/vdc ro`, "/dev/vdc"],
    ["the token, at the end with a newline", `ro ${key}=/dev/vdc\n`, "/dev/vdc"],
    ["two tokens: the first", `${key}=/dev/vdc ${key}=/dev/vdd`, "/dev/vdc"],
    ["an empty one first: the next", `${key}= ${key}=/dev/vdd`, "/dev/vdd"],
    ["only an empty one", `${key}=`, undefined],
    ["only its name", key, undefined],
    ["a longer key", `${key}2=/dev/vdc`, undefined],
    ["a key that ends in ours", `x${key}=/dev/vdc`, undefined],
    ["a value with an equals sign", `${key}=serial=a=b`, "serial=a=b"],
    ["tabs between", `a\t${key}=/dev/vdc\tb`, "/dev/vdc"],
  ] as const)("%s", (_what, cmdline, expected) => {
    expect(cmdlineValue(cmdline, key)).toBe(expected);
  });
});

describe("the disk of a volume", () => {
  const booted = (cmdline: string, device?: string) =>
    chooseDevice({ options: device === undefined ? {} : { device }, cmdline: () => cmdline });
  const onCmdline = (value: string, device?: string) =>
    booted(`quiet arcbox.docker_data_device=${value} ro\n`, device);

  test("is the one asked for", () => {
    const choice = { selector: null, paths: ["/dev/sdb"] };
    expect(onCmdline("/dev/vdc", "/dev/sdb")).toEqual(choice);
  });
  test("else the one on the kernel command line", () => {
    const choice = { selector: null, paths: ["/dev/vdc"] };
    expect(onCmdline("/dev/vdc")).toEqual(choice);
  });
  test("else one of the usual ones, the hypervisor's first", () => {
    const choice = { selector: null, paths: ["/dev/arcboxhvc1", "/dev/vdb"] };
    expect(booted("quiet")).toEqual(choice);
    expect(onCmdline("")).toEqual(choice);
  });
  test("may be meant by what it is, on either command line", () => {
    const choice = { selector: { by: "serial" as const, value: "a=b" }, paths: [] };
    expect(booted("", "serial=a=b")).toEqual(choice);
    expect(onCmdline("serial=a=b")).toEqual(choice);
  });
});

describe("sizes are written for people", () => {
  test.each([
    [0, "0 bytes"],
    [512, "512 bytes"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [114_294_784, "109 MiB"],
    [64 * GiB, "64 GiB"],
    [64 * GiB + 100 * MiB, "64.1 GiB"],
    [8 * TiB, "8 TiB"],
    [2048 * 1024 * TiB, "2048 PiB"],
    [BigInt(GiB), "1 GiB"],
    [2n ** 64n - 1n, "16384 PiB"],
  ] as const)("%p: %s", (bytes, text) => {
    expect(sizeText(bytes)).toBe(text);
  });
});
