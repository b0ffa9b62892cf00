import { describe, expect, test } from "bun:test";
import { cmdlineChoice, cmdlineValue } from "../../src/volume/cmdline.ts";
import { chooseDevice } from "../../src/volume/device.ts";
import { decideImageBytes } from "../../src/volume/image.ts";
import { repairPolicies } from "../../src/volume/options.ts";
import { sizeText } from "../../src/volume/size.ts";
import { fakeKernel } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";
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
    ["only its name first: the next", `${key} ${key}=/dev/vdd`, "/dev/vdd"],
    ["a longer key", `${key}2=/dev/vdc`, undefined],
    ["a key that ends in ours", `x${key}=/dev/vdc`, undefined],
    ["a value with an equals sign", `${key}=serial=a=b`, "serial=a=b"],
    ["tabs between", `a\t${key}=/dev/vdc\tb`, "/dev/vdc"],
    ["a value in quotes", `${key}="label=my data" ro`, "label=my data"],
    ["a parameter in quotes", `ro "${key}=label=my data"`, "label=my data"],
    ["quotes that protect nothing", `${key}="/dev/vdc" ro`, "/dev/vdc"],
    ["quotes inside a value stay", `${key}=label=my" "data ro`, 'label=my" "data'],
    ["single quotes protect nothing", `${key}='label=my data'`, "'label=my"],
    ["two spaces in quotes", `${key}="label=a  b"`, "label=a  b"],
    ["an empty one in quotes first", `${key}="" ${key}=/dev/vdd`, "/dev/vdd"],
    ["a blank one in quotes first", `${key}=" " ${key}=/dev/vdd`, "/dev/vdd"],
    ["our key in another's value", `other="x ${key}=/dev/vdc"`, undefined],
    ["hyphens for underscores, as of every parameter", "arcbox.docker-data-device=/x", "/x"],
    ["words that the kernel leaves to init", `quiet -- ${key}=/dev/vdc`, "/dev/vdc"],
    ["a space that is no ASCII", `${key}=label=a\u00a0b`, "label=a\u00a0b"],
  ] as const)("%s", (_what, cmdline, expected) => {
    expect(cmdlineValue(cmdline, key)).toBe(expected);
  });

  test.each([
    ["an empty one", `${key}= ro`],
    ["an empty one in quotes", `${key}=""`],
    ["a blank one", `"${key}= "`],
    ["only its name", `ro ${key} quiet`],
    ["a quote that is not closed", `${key}="/dev/vdc ro quiet`],
    ["a quote before it that is not closed", `foo="bar ${key}=/dev/vdc`],
  ] as const)("%s is an error, and never the default", (_what, cmdline) => {
    expectRefused(() => cmdlineValue(cmdline, key), "usage", key);
  });

  test("a policy is one of its words, or an error that lists them", () => {
    const choice = (cmdline: string) =>
      cmdlineChoice(cmdline, "arcbox.data_repair", repairPolicies);
    expect(choice("ro")).toBeUndefined();
    expect(choice('ro arcbox.data_repair="always"')).toBe("always");
    for (const value of ["on", "ALWAYS", "always,never", "toString", '"always "']) {
      const look = () => choice(`arcbox.data_repair=${value}`);
      expectRefused(look, "usage", /arcbox.data_repair.*\n.*auto, always, never/);
    }
    const twice = (one: string, other: string) => () =>
      choice(`arcbox.data_repair=${one} ro arcbox.data-repair=${other}`);
    expect(twice("never", '"never"')()).toBe("never");
    expectRefused(twice("never", "always"), "usage", /"never" and "always"/);
    expectRefused(twice("always", "on"), "usage", /"always" and "on"/);
  });
});

describe("the disk of a volume", () => {
  const kernel = fakeKernel({ readlink: () => "/srv" });
  const booted = (cmdline: string, device?: string) =>
    chooseDevice({
      kernel,
      options: device === undefined ? {} : { device },
      cmdline: () => cmdline,
    });
  const onCmdline = (value: string, device?: string) =>
    booted(`quiet arcbox.docker_data_device=${value} ro\n`, device);
  const byPath = (path: string, name = path) => ({ by: "path" as const, path, name });

  test("is the one asked for", () => {
    expect(onCmdline("/dev/vdc", "/dev/sdb")).toEqual(byPath("/dev/sdb"));
  });
  test("is below the working directory when its path is relative, and called as it was typed", () => {
    expect(booted("", "disk")).toEqual(byPath("/srv/disk", "disk"));
  });
  test("else the one on the kernel command line", () => {
    expect(onCmdline("/dev/vdc")).toEqual(byPath("/dev/vdc"));
  });
  test("else one of the usual ones", () => {
    expect(booted("quiet").by).toBe("default");
  });
  test.each(["", "vdc", "lable=x", "'label=my", "label=", "PARTUUID=1-2"])(
    "is none when the kernel command line says %p",
    (value) => {
      expectRefused(() => onCmdline(value), "usage", "arcbox.docker_data_device=");
    },
  );
  test.each([
    ["serial=a=b", { by: "serial", value: "a=b" }],
    ["uuid=1-2", { by: "uuid", value: "1-2" }],
    ["UUID=1-2", { by: "uuid", value: "1-2" }],
    ["LABEL=A", { by: "label", value: "A" }],
  ] as const)("may be meant by what it is, on either command line: %s", (text, selector) => {
    const choice = { by: "selector" as const, selector, name: `${selector.by}=${selector.value}` };
    expect(booted("", text)).toEqual(choice);
    expect(onCmdline(text)).toEqual(choice);
  });
  test.each([
    ["PARTUUID=0FC6-01", "/dev/disk/by-partuuid/0fc6-01"],
    ["partuuid=0fc6-01", "/dev/disk/by-partuuid/0fc6-01"],
    ["PARTLABEL=data", "/dev/disk/by-partlabel/data"],
    ["PARTLABEL=my /data", "/dev/disk/by-partlabel/my\\x20\\x2fdata"],
    ["PARTLABEL=dätä", "/dev/disk/by-partlabel/dätä"],
  ])("%s is answered with the path that means it", (text, path) => {
    expectRefused(() => booted("", text), "usage", `${text} names a partition`, path);
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
