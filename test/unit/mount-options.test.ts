import { describe, expect, test } from "bun:test";
import { VolumeError } from "../../src/volume/error.ts";
import { defaultLayout, type Layout } from "../../src/volume/layout.ts";
import {
  assertMountOptions,
  optionProblem,
  refusedOption,
} from "../../src/volume/mount-options.ts";
import { failing, fakeKernel } from "./support/fake-kernel.ts";

const withOptions = (options: string): Layout => ({ ...defaultLayout, options });

test.each([
  ["compresss=zstd", "compresss is no mount option of Btrfs"],
  ["commit", "commit needs a value: a number of seconds"],
  ["ssd=1", "ssd takes no value"],
  ["compress=zstd:99", "compress=zstd:99 must be zstd, zstd:-15 to zstd:15"],
] as const)("what is wrong is said: %s", (option, said) => {
  expect(optionProblem(option)).toStartWith(said);
});

test.each(["", "=", "=x", "compress=zstd=1", "toString", "compress,ro"])("%p is none", (option) => {
  expect(optionProblem(option)).not.toBeNull();
});

describe("the kernel is asked before a disk is formatted", () => {
  const asked: string[] = [];
  const kernel = (refused: string) =>
    fakeKernel({
      fsopen: () => 9,
      close: () => undefined,
      fsconfig(_context, name, value) {
        asked.push(value === null ? name : `${name}=${value}`);
        if (name === refused) failing("EINVAL")();
      },
    });
  const message = (run: () => void): string => {
    try {
      run();
      return "";
    } catch (error) {
      if (error instanceof VolumeError && error.code === "layout") return error.message;
      throw error;
    }
  };

  test("not for the built-in options, which every kernel takes", () => {
    assertMountOptions(fakeKernel({}), defaultLayout);
  });

  test("option by option, and the first that it does not take is named", () => {
    asked.length = 0;
    const layout = withOptions("compress=zstd:-5,ssd,commit=9");
    expect(refusedOption(kernel(""), layout)).toBeNull();
    expect(asked).toEqual(["compress=zstd:-5", "ssd", "commit=9"]);
    expect(message(() => assertMountOptions(kernel("ssd"), layout))).toContain("does not take ssd");
  });

  test.each(["ENOSYS", "EPERM", "ENODEV"] as const)(
    "one that cannot be asked (%s) is not",
    (errno) => {
      assertMountOptions(fakeKernel({ fsopen: failing(errno) }), withOptions("commit=9"));
    },
  );

  test("what is no option at all needs no kernel", () => {
    const run = () => assertMountOptions(fakeKernel({}), withOptions("compresss=zstd"));
    expect(message(run)).toContain("compresss");
  });

  test("no options at all are right", () => {
    expect(message(() => assertMountOptions(kernel("x"), withOptions("")))).toBe("");
  });
});
