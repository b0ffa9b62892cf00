import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, plan, up, volume } from "../../kit/agent.ts";
import { MiB } from "../../kit/image.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { status } from "../../kit/status.ts";
import { traced } from "../../kit/trace.ts";
import { dockerOf, filesystemGone, ourMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** The last mount fails, and whoever waits for the volume has time to be quicker than that. */
const lastMountFails = "--inject=mount:error=EIO:delay_enter=400000:when=6";

test("who has a file open in a mount that is taken back is named, and so is what that means", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const { uuid } = await up(box, "--device", device);
  const file = join(dockerOf(box), "file");
  writeFileSync(file, "text");
  await down(box, "--device", device);

  const script = `echo waiting; until exec 3<"$1"; do sleep 0.01; done 2>/dev/null; exec sleep 1000`;
  const child = await box.spawnUntilReady(["bash", "-c", script, "bash", file]);
  const { prefix } = traced(box, "mount", lastMountFails);
  const { report } = await fails(
    volume(box, "up", ["--device", device], { prefix }),
    "mount-failed",
  );
  expect(ourMounts(box)).toEqual([]);
  expect(report.notes.join()).toContain(dockerOf(box));
  expect(report.notes.join()).toContain(`process ${child.pid}`);
  expect(filesystemGone(uuid ?? "")).toBeFalse();

  // Nobody says that it is in another mount namespace, for it is not.
  const said = [
    (await plan(box, "--device", device)).notes.join(),
    (await fails(volume(box, "down", ["--device", device]), "busy")).message,
    (await status(box, ["--device", device])).problems.map(({ message }) => message).join(),
  ];
  for (const text of said) {
    expect(text).toContain(`process ${child.pid}`);
    expect(text).not.toContain("namespace");
  }

  child.kill("SIGKILL");
  await child.exited;
  await down(box, "--device", device);
  expect(filesystemGone(uuid ?? "")).toBeTrue();
});

test("who was quicker does not keep the next up from mounting it again", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  await up(box, "--device", device);
  const file = join(dockerOf(box), "file");
  writeFileSync(file, "text");
  await down(box, "--device", device);
  const script = `echo waiting; until exec 3<"$1"; do sleep 0.01; done 2>/dev/null; exec sleep 1000`;
  const child = await box.spawnUntilReady(["bash", "-c", script, "bash", file]);
  const { prefix } = traced(box, "mount", lastMountFails);
  await fails(volume(box, "up", ["--device", device], { prefix }), "mount-failed");
  const report = await up(box, "--device", device);
  expect(report.notes.join()).toContain(`process ${child.pid}`);
  expect(ourMounts(box)).toHaveLength(6);
});
