import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Action,
  actions,
  optionSpecs,
  parseSize,
  parseVolume,
  parseWait,
} from "../../src/cli/arguments.ts";
import { exitStatusOf } from "../../src/volume/error.ts";
import { expectRefused, refusalOf } from "./support/refused.ts";
import { GiB, KiB, MiB, TiB } from "./support/sparse-disk.ts";

const up = (...argv: readonly string[]) => parseVolume("up", argv);
const optionsOf = (...argv: readonly string[]) => up(...argv).options;

describe("a size", () => {
  test.each([
    ["1", 1],
    ["512", 512],
    ["1K", KiB],
    ["64k", 64 * KiB],
    ["100M", 100 * MiB],
    ["64G", 64 * GiB],
    ["64g", 64 * GiB],
    ["8T", 8 * TiB],
    ["8191T", 8191 * TiB],
    ["0064G", 64 * GiB],
    ["999999999999999", 999_999_999_999_999],
  ] as const)("%s is %i bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    "",
    " ",
    "0",
    "0G",
    "00",
    "-1",
    "-64G",
    "+64G",
    "64 G",
    " 64G",
    "64G ",
    "64G\n",
    "1.5G",
    "1,5G",
    "64GB",
    "64GiB",
    "64P",
    "64X",
    "G",
    "0x40",
    "1e3",
    "Infinity",
    "NaN",
    "64G\0",
    "٦٤G",
    "64\u212a",
    "8192T",
    "9999999999999999",
    "999999999999999T",
    "9".repeat(400),
  ])("%p is none", (text) => {
    expectRefused(() => parseSize(text), "usage", "--size");
  });

  test("that is too large is said to be that", () => {
    expectRefused(() => parseSize("9000T"), "usage", /too large/, /8191T/);
  });

  test("never comes out as anything but a positive whole number that is exact", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{1,20}[KMGT]?$/)), (text) => {
        let bytes: number;
        try {
          bytes = parseSize(text);
        } catch {
          return;
        }
        expect(Number.isSafeInteger(bytes) && bytes > 0).toBe(true);
      }),
    );
  });
});

describe("a wait", () => {
  test.each([
    ["0", 0],
    ["5", 5000],
    ["0.5", 500],
    [".5", 500],
    ["2.25", 2250],
    ["86400", 86_400_000],
  ] as const)("%s is %i ms", (text, ms) => {
    expect(parseWait(text)).toBe(ms);
  });

  test.each([
    "",
    " ",
    ".",
    "5.",
    "-1",
    "-0.5",
    "+5",
    "5s",
    " 5",
    "5 ",
    "5\n",
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "1,5",
    "86400.1",
    "99999999",
    "9".repeat(400),
    "5\0",
  ])("%p is none", (text) => {
    expectRefused(() => parseWait(text), "usage", "--wait");
  });
});

describe("a wrong command line is one clear line and exit status 2", () => {
  const cases: readonly (readonly [
    what: string,
    argv: readonly string[],
    named: string | RegExp,
  ])[] = [
    ["an unknown option", ["--frobnicate"], "--frobnicate"],
    ["an unknown option with a value", ["--frobnicate=1"], "--frobnicate"],
    ["a short option", ["-f"], "-f"],
    ["part of a name", ["--dev", "/dev/vdb"], "--dev"],
    ["another spelling", ["--Device", "/dev/vdb"], "--Device"],
    ["a name of every object", ["--constructor"], "--constructor"],
    ["a word without an option", ["/dev/vdb"], "/dev/vdb"],
    ["a word behind the options", ["--cover", "now"], "now"],
    ["a word behind --", ["--", "/dev/vdb"], "/dev/vdb"],
    ["an empty word", [""], '""'],
    ["--device and --image", ["--device", "/dev/vdb", "--image", "/i"], /--device and --image/],
    ["--image and --device", ["--image", "/i", "--device", "/dev/vdb"], /--device and --image/],
    ["--size of a device", ["--device", "/dev/vdb", "--size", "1G"], "--size"],
    ["--size of nothing", ["--size", "1G"], "--size"],
    ["--device without a value", ["--device"], "--device"],
    ["--device, and then an option", ["--device", "--json"], "--device"],
    ["--device, empty", ["--device", ""], "--device"],
    ["--device, empty behind =", ["--device="], "--device"],
    ["--device with a NUL", ["--device", "/dev/vdb\0"], "--device"],
    ["--device by an empty label", ["--device", "label="], "label="],
    ["--image, empty", ["--image", ""], "--image"],
    ["--image with a NUL", ["--image", "a\0b"], "--image"],
    ["--root, empty", ["--root", ""], "--root"],
    ["--root with a NUL", ["--root", "/srv\0"], "--root"],
    ["--layout, empty", ["--layout", ""], "--layout"],
    ["--size, empty", ["--image", "/i", "--size", ""], "--size"],
    ["--size, negative", ["--image", "/i", "--size=-1G"], "--size"],
    ["--wait, negative", ["--wait=-1"], "--wait"],
    ["--wait, a negative word", ["--wait", "-1"], '--wait "-1" is not a number of seconds'],
    ["--size, a negative word", ["--image", "/i", "--size", "-1G"], '--size "-1G" is not a size'],
    ["--device by a partition", ["--device", "PARTUUID=1-2"], "/dev/disk/by-partuuid/1-2"],
    ["--wait, empty", ["--wait", ""], "--wait"],
    ["--format, unknown", ["--format", "all"], /--format "all".*\n.*blank, any, never/],
    ["--format, in capitals", ["--format", "ANY"], "--format"],
    ["--format, empty", ["--format", ""], "--format"],
    ["--format, a name of every object", ["--format", "toString"], "--format"],
    ["--repair, unknown", ["--repair", "yes"], /--repair "yes".*\n.*auto, always, never/],
  ];
  test.each(cases)("%s", (_what, argv, named) => {
    const error = refusalOf(() => up(...argv));
    expectRefused(() => up(...argv), "usage", named);
    expect(exitStatusOf[error.code]).toBe(2);
    expect(error.message).not.toContain("\n");
    expect(error.message).not.toContain("\0");
  });

  test("whatever is given, the answer is a command or a usage error", () => {
    const word = fc.oneof(
      fc.constantFrom(
        ...optionSpecs.map(({ name }) => name),
        "--",
        "-",
        "--=",
        "--device=",
        "=",
        "-1",
      ),
      fc.string(),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...actions), fc.array(word, { maxLength: 6 }), (action, argv) => {
        try {
          parseVolume(action, argv);
        } catch (error) {
          expect(error).toMatchObject({ name: "VolumeError", code: "usage" });
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("what was given is what is done", () => {
  test("nothing given: nothing chosen", () => {
    expect(up()).toEqual({
      action: "up",
      json: false,
      check: false,
      options: { cover: false },
      layoutPath: undefined,
    });
  });

  test("everything given", () => {
    const argv = [
      ["--image", "/srv/a b.img"],
      ["--size", "2G"],
      ["--root", "/srv/r"],
      ["--wait", "0.5"],
      ["--format", "any"],
      ["--repair", "always"],
      ["--layout", "/etc/l.json"],
      ["--cover"],
      ["--json"],
    ].flat();
    expect(up(...argv)).toEqual({
      action: "up",
      json: true,
      check: false,
      options: {
        image: "/srv/a b.img",
        sizeBytes: 2 * GiB,
        root: "/srv/r",
        waitMs: 500,
        format: "any",
        repair: "always",
        cover: true,
      },
      layoutPath: "/etc/l.json",
    });
  });

  test("a value may follow = as well as a space", () => {
    expect(optionsOf("--device=/dev/vdb")).toEqual(optionsOf("--device", "/dev/vdb"));
    expect(optionsOf("--device=/dev/a=b").device).toBe("/dev/a=b");
  });

  test.each(["/dev/disk/by-id/x y", "/srv/ü/数据", "/a\\b", "/a\nb", "/-", "/dev/--json"])(
    "the path %p is taken as it is",
    (path) => {
      expect(optionsOf("--device", path).device).toBe(path);
      expect(optionsOf("--root", path).root).toBe(path);
    },
  );

  test("slashes behind a path lead nowhere else", () => {
    expect(optionsOf("--device", "/dev/vdb//").device).toBe("/dev/vdb");
    expect(optionsOf("--root", "/").root).toBe("/");
    expect(optionsOf("--root", "//").root).toBe("/");
  });

  test("a relative path of a disk stays as it was typed", () => {
    expect(optionsOf("--device", "vdb").device).toBe("vdb");
  });

  test("a relative path is below the working directory", () => {
    expect(optionsOf("--image", "data.img").image).toBe(`${process.cwd()}/data.img`);
    expect(optionsOf("--root", "r").root).toBe(`${process.cwd()}/r`);
  });

  test("a disk meant by what it is stays as it was said", () => {
    for (const text of ["serial=ABC", "uuid=1234-5", "label=a b", "LABEL=a b", "UUID=1234-5"]) {
      expect(optionsOf("--device", text).device).toBe(text);
    }
  });

  test("a path with an equals sign is no selector", () => {
    expect(optionsOf("--device", "/dev/serial=x").device).toBe("/dev/serial=x");
    expect(optionsOf("--device", "name=x").device).toBe("name=x");
  });
});

describe("each command takes its own options and no other", () => {
  /** Section 6 of the contract. */
  const taken: Record<Action, string> = {
    up: "--device --image --size --root --layout --wait --format --repair --cover --json",
    plan: "--device --image --size --root --layout --wait --format --repair --cover --json",
    status: "--device --image --size --root --layout --wait --check --json",
    down: "--device --image --size --root --layout --wait --discard-deleted --json",
  };
  test.each([...actions])("%s", (action) => {
    const names = optionSpecs
      .filter((spec) => spec.actions.includes(action))
      .map(({ name }) => name);
    expect(names.join(" ")).toBe(taken[action]);
    for (const { name, value } of optionSpecs) {
      if (taken[action].split(" ").includes(name)) continue;
      const argv = value === undefined ? [name] : [name, "1"];
      expectRefused(() => parseVolume(action, argv), "usage", name);
    }
  });
});

/** An option with a value that is good. */
const example = ({ name, value, completes }: (typeof optionSpecs)[number]): readonly string[] => {
  if (value === undefined) return [name];
  return [name, typeof completes === "object" ? (completes[0] ?? "") : "1"];
};
const ofUp = optionSpecs.filter((spec) => spec.actions.includes("up"));
const pairs = ofUp.flatMap((one) =>
  ofUp.filter((other) => other !== one).map((other) => [one.name, other.name, one, other] as const),
);

test.each(pairs)("%s excludes %s exactly where both are refused", (_one, _other, one, other) => {
  const argv = [...example(one), ...example(other)];
  // A size wants an image; where the disk is another one, it is wrong anyway.
  if (argv.includes("--size") && !argv.includes("--device")) argv.push("--image", "/i");
  if (one.rivals?.includes(other.name))
    expectRefused(() => up(...argv), "usage", /--device|--size/);
  else expect(up(...argv).action).toBe("up");
});
