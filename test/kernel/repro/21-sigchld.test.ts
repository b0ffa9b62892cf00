import { expect, test } from "bun:test";
import { fails, up, volume } from "../../kit/agent.ts";
import { tool } from "../../kit/command.ts";
import { GiB } from "../../kit/image.ts";
import { replaceMkfs } from "../../kit/mkfs.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { expectMounted, ourMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** Supervisors ignore it so as not to wait for their children, and a program inherits that. */
const prefix = [tool("env"), "--ignore-signal=CHLD"];

test("a format succeeds where SIGCHLD is ignored, and so does the next up", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const run = await volume(box, "up", ["--device", device], { prefix });
  expect(run).toMatchObject({ exitCode: 0, report: { outcome: "changed", verdict: "blank" } });
  expectMounted(box.root);
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
});

test("a format that fails there has failed, with the reason that mkfs gave", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  replaceMkfs(box, "echo the reason; exit 3");
  const { message } = await fails(
    volume(box, "up", ["--device", device], { prefix }),
    "format-failed",
  );
  expect(message).toContain("exit status 3: the reason");
  expect(ourMounts(box)).toEqual([]);
});

test("a format that was killed there is finished by the next run", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const killed = replaceMkfs(box, '"$REAL" "$@" >/dev/null; kill -KILL $$');
  await fails(volume(box, "up", ["--device", device], { prefix }), "format-failed");
  killed.restore();
  await up(box, "--device", device);
  expectMounted(box.root);
});
