import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { down, plan, up, volume } from "../../kit/agent.ts";
import { depth } from "../../kit/depth.ts";
import { MiB } from "../../kit/image.ts";
import { stepOutcomes } from "../../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { unmountAll } from "../../kit/stages.ts";
import { PRIMARY, superblockFacts } from "../../kit/superblock.ts";
import {
  checkFilesystem,
  expectMounted,
  markerIsThere,
  ourMounts,
  preparedDisk,
} from "../../kit/volume.ts";

const sandbox = useSandbox();

const ROUNDS = depth(40, 1000);
const LIMIT_MS = depth(120_000, 3600_000);

/** A shell that goes on with this until it is told to stop, or the test ends. */
async function always(box: Sandbox, work: string): Promise<() => Promise<unknown>> {
  const flag = box.path("go-on");
  await Bun.write(flag, "");
  const loop = `echo ready; n=0; while [ -e '${flag}' ]; do n=$((n + 1)); ${work}; done`;
  const shell = await box.spawnUntilReady(["sh", "-c", loop]);
  return () => {
    rmSync(flag);
    return shell.exited;
  };
}

const generation = ({ device }: Disk): bigint => superblockFacts(device, PRIMARY).generation;

test(
  "a volume that commits all the time is never found damaged, nor repaired, nor formatted",
  async () => {
    const box = sandbox();
    const disk = await preparedDisk(box, 256 * MiB);
    const { uuid } = superblockFacts(disk.image);
    const elsewhere = box.mount(disk.device, "elsewhere");
    // The fsync writes the first superblock alone, the sync of the filesystem all of them.
    const file = `${elsewhere}/file`;
    const stop = await always(
      box,
      `echo $n > '${file}'; sync '${file}'; sync --file-system '${file}'`,
    );
    const before = generation(disk);
    for (let round = 0; round < ROUNDS; round += 1) {
      const report = await up(box, "--device", disk.device);
      expect(report).toMatchObject({ verdict: "mounted", uuid });
      expect(stepOutcomes(report).filesystem).toBe("kept");
      expect((await plan(box, "--device", disk.device)).verdict).toBe("mounted");
      const { report: refused } = await volume(box, "down", ["--device", disk.device]);
      expect(refused.error?.code).toBe("busy");
      expectMounted(box.root);
      if (round % 2 === 0) continue;
      unmountAll(box);
    }
    await stop();
    expect(generation(disk) - before).toBeGreaterThan(BigInt(ROUNDS));
    await up(box, "--device", disk.device);
    expect(markerIsThere(box)).toBeTrue();
  },
  LIMIT_MS,
);

test(
  "a volume that somebody mounts, writes to and unmounts all the time is never repaired or formatted",
  async () => {
    const box = sandbox();
    const disk = await preparedDisk(box, 256 * MiB);
    const { uuid } = superblockFacts(disk.image);
    const place = box.folder("elsewhere");
    const stop = await always(
      box,
      `mount '${disk.device}' '${place}' || continue; echo $n > '${place}/file'; sync '${place}/file'; until umount '${place}'; do :; done`,
    );
    const seen = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const { report } = await volume(box, "up", ["--device", disk.device]);
      const verdict = `${report.verdict} ${report.error?.code ?? "up"}`;
      seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
      expect(["btrfs up", "mounted up", "btrfs busy", "mounted busy"]).toContain(verdict);
      expect(stepOutcomes(report).filesystem).not.toBe("changed");
      expect(report.uuid ?? uuid).toBe(uuid);
      if (report.error === null) expectMounted(box.root);
      else expect(ourMounts(box)).toBeEmpty();
      unmountAll(box);
    }
    console.log("a volume mounted by others meanwhile:", Object.fromEntries(seen));
    await stop();
    await up(box, "--device", disk.device);
    expect(markerIsThere(box)).toBeTrue();
    unmountAll(box);
    checkFilesystem(disk);
  },
  LIMIT_MS,
);

test(
  "up and down at once, over and over, end with all of the mounts or none",
  async () => {
    const box = sandbox();
    const disk = await preparedDisk(box, 256 * MiB);
    const args = ["--device", disk.device];
    for (let round = 0; round < ROUNDS / 2; round += 1) {
      const runs = await Promise.all([
        volume(box, "up", args),
        volume(box, "down", args),
        volume(box, "up", args),
        volume(box, "down", args),
      ]);
      for (const { report } of runs) expect([undefined, "busy"]).toContain(report.error?.code);
      if (ourMounts(box).length > 0) expectMounted(box.root);
    }
    await up(box, ...args);
    expect(markerIsThere(box)).toBeTrue();
    await down(box, ...args);
    checkFilesystem(disk);
  },
  LIMIT_MS,
);
