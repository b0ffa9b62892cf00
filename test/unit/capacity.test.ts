import { describe, expect, test } from "bun:test";
import { DEV_INFO, RESIZE } from "../../src/btrfs/ioctls.ts";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import {
  decideCapacity,
  growToDevice,
  lookAtCapacity,
  planCapacity,
} from "../../src/volume/capacity.ts";
import type { StepResult } from "../../src/volume/report.ts";
import { fakeKernel } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";
import { GiB, TiB } from "./support/sparse-disk.ts";

const facts = (deviceBytes: number, usedBytes: bigint | number) => ({
  deviceBytes,
  usedBytes: BigInt(usedBytes),
  deviceId: 2n,
  sectorBytes: 4096,
  isReplacing: false,
});

describe("a filesystem only ever grows, and only by a sector or more", () => {
  test.each([
    ["just as large as its disk", GiB, GiB, "kept"],
    ["a byte smaller", GiB, GiB - 1, "kept"],
    ["a byte less than a sector smaller", GiB + 4095, GiB, "kept"],
    ["a sector smaller", GiB + 4096, GiB, "grow"],
    ["half as large", 2 * GiB, GiB, "grow"],
    ["larger: max would shrink it", GiB, 2 * GiB, "kept"],
    ["larger by a sector", GiB, GiB + 4096, "kept"],
    ["a sector smaller than 8 TiB", 8 * TiB, 8 * TiB - 4096, "grow"],
  ] as const)("%s", (_what, deviceBytes, usedBytes, decision) => {
    expect(decideCapacity(facts(deviceBytes, usedBytes))).toBe(decision);
    const planned = decision === "grow" ? "changed" : "kept";
    expect(planCapacity(facts(deviceBytes, usedBytes)).outcome).toBe(planned);
  });
});

interface Growth {
  readonly result: StepResult;
  readonly notes: readonly string[];
  /** The arguments of RESIZE. */
  readonly asked: readonly string[];
}

/** A mounted filesystem of which RESIZE gives this, and whose device then has this size. */
function growing(resized: () => number, afterBytes: number): Growth {
  const notes: string[] = [];
  const asked: string[] = [];
  const kernel = fakeKernel({
    ioctl(_fd, request, argument) {
      if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
      if (request === RESIZE) {
        asked.push(new TextDecoder().decode(argument.subarray(8, argument.indexOf(0, 8))));
        return resized();
      }
      expect(request).toBe(DEV_INFO);
      new DataView(argument.buffer, argument.byteOffset).setBigUint64(32, BigInt(afterBytes), true);
      return 0;
    },
  });
  const result = growToDevice(kernel, 3, facts(2 * GiB, GiB), (text) => notes.push(text));
  return { result, notes, asked };
}

describe("growing", () => {
  test("asks for the device by its own id, which after a replacement is not 1", () => {
    const { result, notes, asked } = growing(() => 0, 2 * GiB);
    expect(asked).toEqual(["2:max"]);
    expect(result).toEqual({ outcome: "changed", detail: "grown from 1 GiB to 2 GiB" });
    expect(notes).toEqual([]);
  });

  test("does what the plan said", () => {
    expect(growing(() => 0, 2 * GiB).result).toEqual(planCapacity(facts(2 * GiB, GiB)));
  });

  test("asks nothing when there is nothing to grow", () => {
    const result = growToDevice(fakeKernel({}), 3, facts(GiB, GiB), () => undefined);
    expect(result).toEqual({ outcome: "kept", detail: "1 GiB" });
  });

  test.each([
    ["a balance is running, which a positive return says", (): number => 8, /balance/],
    ["no space", () => fail(Errno.ENOSPC), /ENOSPC/],
    ["no permission", () => fail(Errno.EPERM), /EPERM/],
    ["read-only", () => fail(Errno.EROFS), /EROFS/],
  ] as const)("failure is a note, and the old size goes on working: %s", (_why, resized, why) => {
    const { result, notes } = growing(resized, GiB);
    expect(result.outcome).toBe("kept");
    expect(notes).toEqual([expect.stringMatching(why)]);
  });

  test("a success after which the size is the old one is no success", () => {
    const { result, notes } = growing(() => 0, GiB);
    expect(result.outcome).toBe("kept");
    expect(notes).toHaveLength(1);
  });

  test("a fault of the program is not a note", () => {
    expect(() =>
      growing(() => {
        throw new TypeError("a bug");
      }, GiB),
    ).toThrow(TypeError);
  });
});

function fail(errno: number): never {
  throw new SystemError("ioctl", errno);
}

describe("the one device is found whatever its id", () => {
  /** FS_INFO says the count and the highest id; DEV_INFO knows just these. */
  const mounted = (count: bigint, maxId: bigint, ids: readonly bigint[]) =>
    fakeKernel({
      ioctl(_fd, request, argument) {
        if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
        const view = new DataView(argument.buffer, argument.byteOffset);
        if (request !== DEV_INFO) {
          view.setBigUint64(0, maxId, true);
          view.setBigUint64(8, count, true);
          view.setUint32(36, 4096, true);
          return 0;
        }
        if (!ids.includes(view.getBigUint64(0, true))) fail(Errno.ENODEV);
        view.setBigUint64(32, BigInt(GiB), true);
        return 0;
      },
    });

  test.each([1n, 2n, 7n])("%i", (id) => {
    const look = lookAtCapacity(mounted(1n, id, [id]), 3, "/dev/vdb", 2 * GiB);
    expect(look).toEqual({
      deviceBytes: 2 * GiB,
      usedBytes: BigInt(GiB),
      deviceId: id,
      sectorBytes: 4096,
      isReplacing: false,
    });
  });

  test("a device that is being replaced is one device, though the kernel counts two", () => {
    const look = lookAtCapacity(mounted(2n, 1n, [0n, 1n]), 3, "/dev/vdb", 2 * GiB);
    expect(look).toMatchObject({ deviceId: 1n, isReplacing: true });
    expect(decideCapacity(look)).toBe("kept");
  });

  test("of a device of unknown size the filesystem's own is taken", () => {
    const look = lookAtCapacity(mounted(1n, 1n, [1n]), 3, "/dev/vdb", null);
    expect(look.deviceBytes).toBe(GiB);
  });

  test.each([
    ["three devices, one of them replaced", 3n, [0n, 1n, 2n]],
    ["two, of which one is missing", 2n, [1n]],
  ] as const)("%s are no data volume", (_what, count, ids) => {
    const look = () => lookAtCapacity(mounted(count, 2n, ids), 3, "/dev/vdb", GiB);
    expectRefused(look, "multi-device");
  });

  test("two devices are no data volume", () => {
    const look = () => lookAtCapacity(mounted(2n, 2n, [1n, 2n]), 3, "/dev/vdb", GiB);
    expectRefused(look, "multi-device", "/dev/vdb", "2");
  });

  test("an absurd highest id ends the search, it does not hang", () => {
    const look = () => lookAtCapacity(mounted(1n, 2n ** 63n, []), 3, "/dev/vdb", GiB);
    expectRefused(look, "multi-device");
  });
});
