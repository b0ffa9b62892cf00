import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { up, volume } from "../../kit/agent.ts";
import { compiled } from "../../kit/compiled.ts";
import { MiB } from "../../kit/image.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { dockerOf, expectMounted, ourMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();

test.each(["var/lib/docker", "run/arcbox/data/@docker", "var/lib/cni"])(
  "who opens and closes a file in %s again and again never makes half a volume",
  async (place) => {
    const box = sandbox();
    const { device } = box.disk(300 * MiB);
    await up(box, "--device", device);
    mkdirSync(join(box.root, place, "public"));
    const file = join(box.root, place, "public/file");
    writeFileSync(file, "text");
    await box.spawnUntilReady([compiled(box, "visit"), file]);
    for (let round = 0; round < 8; round += 1) {
      await up(box, "--device", device);
      const { report } = await volume(box, "down", ["--device", device]);
      if (report.error === null) expect(ourMounts(box)).toEqual([]);
      else {
        expect(report.error.code).toBe("busy");
        expectMounted(box.root);
      }
    }
  },
);

test("who does so is no reason to stop, when nobody else is there", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  await up(box, "--device", device);
  const file = join(dockerOf(box), "file");
  writeFileSync(file, "text");
  await box.spawnUntilReady([compiled(box, "visit"), file]);
  const outcomes: string[] = [];
  for (let round = 0; round < 8; round += 1) {
    await up(box, "--device", device);
    outcomes.push((await volume(box, "down", ["--device", device])).report.outcome);
  }
  expect(outcomes.filter((outcome) => outcome === "changed").length).toBeGreaterThan(4);
});
