import { expect, test } from "bun:test";
import { down, fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { flush, KiB, MiB, readAt, writeAt } from "../../kit/image.ts";
import { replaceMkfs } from "../../kit/mkfs.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { MIRROR } from "../../kit/superblock.ts";
import { rawOf } from "../../kit/volume.ts";

const sandbox = useSandbox();
const RECORD = MIRROR + 32 * KiB;
const LEAST = 114_294_784;

/** Every size from the least to 300 MiB in steps of 1 MiB. */
const sizes = [LEAST, ...Array.from({ length: 300 - 109 }, (_, i) => (110 + i) * MiB)];
/** Sixteenths of them, so that no test takes long. */
const parts = Array.from({ length: 16 }, (_, part) => [part] as const);

test.each(parts)(
  "mkfs writes nothing where the record stands, part %i of the sizes up to 300 MiB",
  (part) => {
    const box = sandbox();
    const mark = Buffer.alloc(4096, "a record ");
    for (const sizeBytes of sizes.filter((_, i) => i % parts.length === part)) {
      for (const options of [
        ["-n", "8192"],
        ["-n", "65536", "-m", "single"],
      ]) {
        const image = box.image(sizeBytes, `${sizeBytes}-${options.length}.img`);
        writeAt(image, RECORD, mark);
        command("mkfs.btrfs", "--quiet", "--force", "--nodiscard", ...options, image);
        expect(`${sizeBytes} ${readAt(image, RECORD, mark.length).equals(mark)}`).toBe(
          `${sizeBytes} true`,
        );
      }
    }
  },
);

test.each([144_375_808, 144_785_408, 145_752_064])(
  "a new volume of %i bytes is without an error",
  async (sizeBytes) => {
    const box = sandbox();
    const { image, device } = box.disk(sizeBytes);
    await up(box, "--device", device);
    command("sync", "--file-system", rawOf(box));
    expect(command("btrfs", "scrub", "start", "-Br", rawOf(box))).toMatch(/no errors found/);
    await down(box, "--device", device);
    flush(device);
    expect(readAt(image, RECORD, 4096).equals(Buffer.alloc(4096))).toBeTrue();
  },
);

test.each([LEAST, 138 * MiB, 150 * MiB])(
  "an mkfs that is killed before it writes its superblocks on a disk of %i bytes is finished",
  async (sizeBytes) => {
    const box = sandbox();
    const { device } = box.disk(sizeBytes);
    const fake = replaceMkfs(
      box,
      '"$REAL" "$@" >/dev/null 2>&1; for disk; do :; done\n' +
        'for at in 16 16384; do dd if=/dev/zero of="$disk" bs=4096 seek=$at count=1 conv=notrunc status=none; done\n' +
        "sync; kill -KILL $$",
    );
    await fails(volume(box, "up", ["--device", device]), "format-failed");
    fake.restore();
    expect((await up(box, "--device", device)).verdict).toBe("interrupted");
    await down(box, "--device", device);
    command("btrfs", "check", "--readonly", device);
  },
);
