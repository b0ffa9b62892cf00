import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { down, fails, reported, start, up, volume } from "../../kit/agent.ts";
import { command, tool } from "../../kit/command.ts";
import { fingerprint, MiB, writeAt } from "../../kit/image.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";

const sandbox = useSandbox();

/** Runs `up` where SEEK_DATA says that no file holds data, as a filesystem may that is wrong about it. */
const upWithoutSeekData = (box: Sandbox, image: string) =>
  reported(
    "up",
    start(["volume", "up", "--json", "--root", box.root, "--image", image], {
      prefix: [
        tool("strace"),
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=lseek",
        "-e",
        "inject=lseek:error=ENXIO",
      ],
    }).done,
  );

test.each([
  ["in its middle", 20 * MiB, 400 * MiB],
  ["at its end", 599 * MiB, MiB],
  ["at its start", 0, MiB],
  ["in a tenth of it", 100 * MiB, 60 * MiB],
])(
  "an image that holds data %s is not blank because its filesystem shows none",
  async (_, offset, length) => {
    const box = sandbox();
    const image = box.image(600 * MiB);
    for (let at = offset; at < offset + length; at += MiB) writeAt(image, at, randomBytes(MiB));
    const before = fingerprint(image);
    await fails(upWithoutSeekData(box, image), "unknown");
    await fails(volume(box, "up", ["--image", image]), "unknown");
    expect(fingerprint(image)).toBe(before);
  },
);

test("a byte that no sample meets is found where the filesystem knows its data", async () => {
  const box = sandbox();
  const image = box.image(600 * MiB);
  writeAt(image, 300 * MiB + 100_000, Buffer.from("x"));
  await fails(volume(box, "up", ["--image", image]), "unknown");
  const device = box.attach(image);
  await fails(volume(box, "up", ["--device", device]), "unknown");
});

test("an image of written zeros is read once, and formatted", async () => {
  const box = sandbox();
  const image = box.path("zeros.img");
  command("dd", "if=/dev/zero", `of=${image}`, "bs=1M", "count=300", "status=none");
  const log = box.path("calls");
  const prefix = [tool("strace"), "-f", "-o", log, "-e", "trace=pread64"];
  const args = ["volume", "up", "--json", "--root", box.root, "--image", image];
  await reported("up", start(args, { prefix }).done);
  const counts = readFileSync(log, "utf8").matchAll(/pread64\(.* = (\d+)$/gm);
  const bytes = [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  expect(bytes).toBeGreaterThan(300 * MiB);
  expect(bytes).toBeLessThan(330 * MiB);
  await down(box, "--image", image);
  expect((await up(box, "--image", image)).verdict).toBe("btrfs");
});
