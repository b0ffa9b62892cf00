import { expect, test } from "bun:test";
import { mkdirSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { GiB, MiB, resize } from "../kit/image.ts";
import { stepOutcomes } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import {
  btrfsDisk,
  dockerOf,
  expectMounted,
  expectNocow,
  markerIsThere,
  ourMounts,
  preparedDisk,
  withWholeFilesystem,
} from "../kit/volume.ts";

const sandbox = useSandbox();

/** Small enough to be filled in a second. */
const SMALL = 128 * MiB;

/** Fills data, then metadata, until not even an empty folder fits. */
function fill(top: string): void {
  const folder = join(top, "filling");
  mkdirSync(folder);
  let file = 0;
  for (const bytes of [MiB, 64 * 1024, 4096]) {
    untilFull(() => writeFileSync(join(folder, `data${++file}`), Buffer.alloc(bytes, "x")));
  }
  // What a symbolic link points to lies in the metadata.
  for (const bytes of [3900, 500]) {
    untilFull(() => symlinkSync("y".repeat(bytes), join(folder, `link${++file}`)));
  }
  untilFull(() => mkdirSync(join(folder, `folder${++file}`)));
  command("sync", "--file-system", top);
  untilFull(() => mkdirSync(join(folder, `folder${++file}`)));
}

const AT_MOST = 200_000;

function untilFull(write: () => void): void {
  for (let count = 0; count < AT_MOST; count += 1) {
    try {
      write();
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") return;
      throw error;
    }
  }
  throw new Error("the volume does not fill up");
}

test("a full volume comes up, with a note about what did not fit", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, SMALL);
  withWholeFilesystem(disk, box, (top) => {
    rmdirSync(join(top, "@docker/network/files"));
    rmdirSync(join(top, "@containerd/io.containerd.metadata.v1.bolt"));
    fill(top);
    expect(() => mkdirSync(join(top, "@docker/network/files"))).toThrow("ENOSPC");
  });
  const report = await up(box, "--device", disk.device);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  expect(report.notes.join("\n")).toMatch(/space|ENOSPC|full/i);
  expect(report.notes.join("\n")).toMatch(/network.files|bolt/);
});

test("a full volume whose directories are all there comes up without a word", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, SMALL);
  withWholeFilesystem(disk, box, fill);
  const report = await up(box, "--device", disk.device);
  expectMounted(box.root);
  expect(stepOutcomes(report)).toMatchObject({ subvolumes: "kept", nocow: "kept" });
});

test("a full volume that is given a larger disk grows and is whole", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, SMALL);
  withWholeFilesystem(disk, box, (top) => {
    rmdirSync(join(top, "@docker/network/files"));
    fill(top);
  });
  box.detach(disk.device);
  resize(disk.image, GiB);
  const device = box.attach(disk.image);
  const report = await up(box, "--device", device);
  expect(stepOutcomes(report)).toMatchObject({ capacity: "changed", nocow: "changed" });
  expectNocow(join(dockerOf(box), "network/files"));
  await down(box, "--device", device);
});

test("a full filesystem without our subvolumes either gets them or says that there is no space", async () => {
  const box = sandbox();
  const disk = btrfsDisk(box, SMALL);
  withWholeFilesystem(disk, box, fill);
  const { report } = await volume(box, "up", ["--device", disk.device]);
  if (report.error === null) {
    expectMounted(box.root);
  } else {
    expect(report.error).toMatchObject({ code: "no-space", message: expect.stringContaining("@") });
    expect(ourMounts(box)).toBeEmpty();
  }
});
