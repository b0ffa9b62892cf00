import { expect, test } from "bun:test";
import { down } from "../../src/volume/down.ts";
import type { VolumeOptions } from "../../src/volume/options.ts";
import { plan } from "../../src/volume/plan.ts";
import { status } from "../../src/volume/status.ts";
import { up } from "../../src/volume/up.ts";
import { failing, fakeKernel } from "./support/fake-kernel.ts";

const image = "/srv/data.img";

/** What TypeScript lets through, or a caller in JavaScript writes. */
const wrong: readonly [string, VolumeOptions][] = [
  ["a size that is NaN", { image, sizeBytes: Number("64G") }],
  ["a size without end", { image, sizeBytes: Number.POSITIVE_INFINITY }],
  ["a size below one", { image, sizeBytes: 0 }],
  ["a negative size", { image, sizeBytes: -1 }],
  ["half a byte", { image, sizeBytes: 0.5 }],
  ["more bytes than can be counted", { image, sizeBytes: 2 ** 60 }],
  ["a size for a disk", { device: "/dev/vdb", sizeBytes: 1 }],
  ["a disk and an image", { device: "/dev/vdb", image }],
  ["no name of a disk", { device: "" }],
  ["no name of an image", { image: "" }],
  ["an image by a relative path", { image: "data.img" }],
  ["an image with a NUL in its path", { image: `${image}\0.old` }],
  ["a root by a relative path", { image, root: "srv" }],
  ["an empty root", { image, root: "" }],
  ["a wait that is NaN", { image, waitMs: Number.NaN }],
  ["a wait before now", { image, waitMs: -1 }],
  ["another format", { image, ...JSON.parse('{ "format": "nevr" }') }],
  ["another repair", { image, ...JSON.parse('{ "repair": "on" }') }],
];

/** Any call but these is an `internal` error. */
const kernel = fakeKernel({ nowMs: () => 0, umask: () => 0 });
const silent = (): void => undefined;

test.each(wrong)("%s is wrong usage before the kernel is asked for anything", (_, options) => {
  expect(up(kernel, options, silent).error?.code).toBe("usage");
  expect(plan(kernel, options, silent).error?.code).toBe("usage");
});

/** What these do not ask for they need not have: no size, no wait. */
const named = wrong.filter(
  ([, { sizeBytes, waitMs }]) => sizeBytes === undefined && waitMs === undefined,
);

test.each(named)("%s is wrong usage of status and down too", (_, options) => {
  expect(down(kernel, options, silent).error?.code).toBe("usage");
  expect(status(kernel, options, silent).error?.code).toBe("usage");
});

test("an option that is undefined is one that was not given", () => {
  const refuse = failing("EMFILE");
  const opens = { open: refuse, openBeneath: refuse };
  const asked = fakeKernel({ nowMs: () => 0, umask: () => 0, ...opens });
  const none = { device: undefined, sizeBytes: undefined, root: undefined, waitMs: undefined };
  const options = { ...none, format: undefined, repair: undefined, cover: undefined };
  const layout = undefined;
  const { error } = plan(asked, { ...options, layout, image }, silent);
  expect(error).toEqual(plan(asked, { image }, silent).error ?? expect.unreachable());
  expect(error?.message).toContain("EMFILE");
});
