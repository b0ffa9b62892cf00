import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { down, fails, plan, reported, start, succeeds, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { MiB } from "../../kit/image.ts";
import { mounts, mountsUnder } from "../../kit/mountinfo.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { dockerOf, expectMounted, filesystemGone } from "../../kit/volume.ts";

const sandbox = useSandbox();

const at = (root: string, action: "up" | "plan" | "down", device: string) =>
  reported(action, start(["volume", action, "--json", "--root", root, "--device", device]).done);

test("a volume has one place: up below a second root is refused, and says where it is", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const [first, second] = [box.folder("a b"), box.folder("b")];
  await succeeds(at(first, "up", device));
  for (const action of ["plan", "up"] as const) {
    const error = await fails(at(second, action, device), "busy");
    expect(error.message).toContain(first);
    expect(error.hint).toContain(`volume down --root '${first}'`);
    expect(mountsUnder(second)).toEqual([]);
  }
  // There it is nothing new, and what was lost there is put back.
  command("umount", join(first, "var/lib/docker"));
  await succeeds(at(first, "up", device));
  await fails(at(second, "down", device), "busy");
  await succeeds(at(first, "down", device));
  await succeeds(at(second, "up", device));
  await succeeds(at(second, "down", device));
});

test.each([
  ["a subvolume", "var/lib/cni"],
  ["the whole filesystem", "run/arcbox/data"],
])(
  "%s that is mounted a second time on its own place goes with the first",
  async (_what, place) => {
    const box = sandbox();
    const { device } = box.disk(300 * MiB);
    const { uuid } = await up(box, "--device", device);
    const path = join(box.root, place);
    command("mount", "--bind", path, path);
    expect((await up(box, "--device", device)).outcome).toBe("unchanged");
    await down(box, "--device", device);
    expect(mountsUnder(box.root)).toEqual([]);
    expect(filesystemGone(uuid ?? "")).toBeTrue();
  },
);

test("another part of the volume on its place does not", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  await up(box, "--device", device);
  mkdirSync(join(dockerOf(box), "part"));
  command("mount", "--bind", join(dockerOf(box), "part"), join(box.root, "var/lib/cni"));
  await fails(volume(box, "down", ["--device", device]), "busy");
  expect(mountsUnder(box.root)).toHaveLength(7);
});

test("a folder whose name is no UTF-8 is a root like any other", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const link = box.path("link");
  const folder = Buffer.concat([Buffer.from(box.path("odd ")), Buffer.of(0xff, 0xfe)]);
  mkdirSync(folder);
  symlinkSync(folder, link);
  box.onEnd(() =>
    command("sh", "-c", `for m in "$1"/*/*/*; do umount "$m" || :; done 2>&1`, "sh", link),
  );
  const args = ["--device", device, "--root", link];
  const report = await succeeds(reported("up", start(["volume", "up", "--json", ...args]).done));
  expect(mounts().filter(({ type }) => type === "btrfs")).toHaveLength(6);
  expect((await plan(box, ...args)).outcome).toBe("unchanged");
  await down(box, ...args);
  expect(filesystemGone(report.uuid ?? "")).toBeTrue();
});

test("a subvolume named undefined is nobody's but its owner's", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  await up(box, "--device", device);
  command("btrfs", "subvolume", "create", join(box.root, "run/arcbox/data/undefined"));
  const elsewhere = box.mount(device, "elsewhere", "-o", "subvol=undefined");
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(elsewhere);
  expect(mountsUnder(elsewhere)).toHaveLength(1);
  expectMounted(box.root);
});
