import { expect, test } from "bun:test";
import { join } from "node:path";
import { agent, down, fails, up, volume } from "../kit/agent.ts";
import { deadAutomount } from "../kit/automount.ts";
import { fingerprint, GiB } from "../kit/image.ts";
import { mounts, mountsUnder } from "../kit/mountinfo.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { expectMounted, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

/** Whoever walks into one waits for ever, so an answer at all is half of each test. */
const places = ["var/lib/docker", "var/lib/rancher", "var", "run/arcbox/data", "."] as const;

test.each(places)("an automount at %s of the root is no place to mount on", async (place) => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const automount = join(box.root, place);
  await deadAutomount(box, automount);
  const before = [fingerprint(image), mounts()];
  for (const action of ["plan", "up"] as const) {
    const error = await fails(volume(box, action, ["--device", device]), "target-occupied");
    expect(error.message).toContain(automount);
  }
  expect([fingerprint(image), mounts()]).toEqual(before);
});

test.each(places)("status and down do not walk into an automount at %s either", async (place) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await deadAutomount(box, join(box.root, place));
  for (const action of ["status", "down"]) {
    const run = await agent(["volume", action, "--root", box.root, "--device", device]);
    expect([action, run.exitCode === 0 || run.exitCode === 7]).toEqual([action, true]);
  }
});

test("an automount beside the targets is nobody's business", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await deadAutomount(box, join(box.root, "var/lib/docker2"));
  await deadAutomount(box, join(box.root, "var/li"));
  await up(box, "--device", device);
  expect(mountsUnder(box.root).filter(({ type }) => type === "btrfs")).toHaveLength(6);
  await down(box, "--device", device);
});

test("an automount that has been walked into is what was mounted there", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await deadAutomount(box, join(box.root, "var/lib"), 'mount -t tmpfs tmpfs "$2"');
  await up(box, "--device", device);
  expectMounted(
    box.root,
    mountsUnder(box.root).filter(({ type }) => type === "btrfs"),
  );
  await down(box, "--device", device);
});
