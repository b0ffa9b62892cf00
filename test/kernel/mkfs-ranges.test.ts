import { expect, test } from "bun:test";
import { mkfsHeadBytes, mkfsRanges } from "../../src/volume/mkfs-ranges.ts";
import { command } from "../kit/command.ts";
import { GiB, MiB, nonZeroBlocks } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";

const sandbox = useSandbox();

const sizes = [
  ...[110, 128, 300, 640, 641, 1000, 1024, 2048, 2524, 2559, 2560, 2561, 2624, 3000, 4096, 5024],
  ...[5120, 10_240, 51_200, 51_201, 65_536, 307_200, 8 * 1024 * 1024],
].map((mebibytes) => mebibytes * MiB);

const options = [
  ["--nodesize", "8192"],
  ["--nodesize", "65536"],
  ["--nodesize", "4096", "--data", "dup"],
  ["--metadata", "single"],
];

test.each(options.map((some) => [some.join(" "), some] as const))(
  "mkfs.btrfs %s writes something only where an mkfs that was cut short may have",
  (_, some) => {
    const box = sandbox();
    const strays: string[] = [];
    for (const size of sizes) {
      const image = box.image(size, `${size}.img`);
      if (size < 300 * MiB && some.includes("dup")) continue;
      command("mkfs.btrfs", "--quiet", "--nodiscard", ...some, image);
      const ranges = mkfsRanges(size);
      for (const block of nonZeroBlocks(image)) {
        const isKnown = ranges.some(([start, end]) => block >= start && block + 4096 <= end);
        if (!isKnown) strays.push(`${size / MiB} MiB: ${block / MiB} MiB`);
      }
    }
    expect(strays).toEqual([]);
  },
);

test("what lies in front of the second copy of the metadata lies in the head that is read", () => {
  const inHead = mkfsRanges(64 * GiB).filter(([start]) => start < 64 * MiB);
  expect(Math.max(...inHead.map(([, end]) => end))).toBeLessThanOrEqual(mkfsHeadBytes);
});
