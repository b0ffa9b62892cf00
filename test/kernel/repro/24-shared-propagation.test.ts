import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { down, fails, reported, start, succeeds, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { MiB } from "../../kit/image.ts";
import { mounts, mountsUnder } from "../../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { dockerOf, expectMounted, filesystemGone } from "../../kit/volume.ts";

const sandbox = useSandbox();

interface Shared {
  readonly box: Sandbox;
  /** The shared tree, as it is bound a second time. */
  readonly copy: string;
  readonly args: readonly string[];
  readonly uuid: string;
}

/** A volume that is up in a shared tree, which somebody has bound a second time: chroots and backups do that. */
async function sharedVolume(kind: "shared" | "slave"): Promise<Shared> {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const tree = box.mount("tree", "root", "-t", "tmpfs");
  command("mount", "--make-shared", tree);
  const copy = box.folder("copy");
  command("mount", "--bind", tree, copy);
  if (kind === "slave") command("mount", "--make-slave", copy);
  const args = ["--device", device];
  const { uuid } = await up(box, ...args);
  expect(btrfsUnder(copy)).toHaveLength(6);
  return { box, copy, args, uuid: uuid ?? "" };
}

const btrfsUnder = (folder: string) => mountsUnder(folder).filter(({ type }) => type === "btrfs");
const allBtrfs = () => mounts().filter(({ type }) => type === "btrfs");

test.each(["shared", "slave"] as const)(
  "down takes copies along that a %s tree made of our mounts",
  async (kind) => {
    const { box, args, uuid } = await sharedVolume(kind);
    expect((await up(box, ...args)).outcome).toBe("unchanged");
    await down(box, ...args);
    expect(allBtrfs()).toEqual([]);
    expect(filesystemGone(uuid)).toBeTrue();
  },
);

test("the copy of a shared tree may be named as well", async () => {
  const { copy, args, uuid } = await sharedVolume("shared");
  const words = ["--json", "--root", copy, ...args];
  const upAgain = await succeeds(reported("up", start(["volume", "up", ...words]).done));
  expect(upAgain.outcome).toBe("unchanged");
  await succeeds(reported("down", start(["volume", "down", ...words]).done));
  expect(filesystemGone(uuid)).toBeTrue();
});

test("who works in a copy keeps all of them", async () => {
  const { box, copy, args } = await sharedVolume("shared");
  const cwd = join(copy, "var/lib/docker");
  const child = await box.spawnUntilReady(["sh", "-c", "echo ready; exec sleep 1000"], { cwd });
  const { message } = await fails(volume(box, "down", args), "busy");
  expect(message).toContain(String(child.pid));
  expect([btrfsUnder(box.root).length, btrfsUnder(copy).length]).toEqual([6, 6]);
});

test("what is mounted inside a copy alone is named: the copy would stay because of it", async () => {
  const { box, copy, args } = await sharedVolume("slave");
  const below = join(copy, "var/lib/docker/below");
  mkdirSync(below);
  box.mount("tmpfs", below, "-t", "tmpfs");
  const { message } = await fails(volume(box, "down", args), "busy");
  expect(message).toContain(below);
  expectMounted(box.root, btrfsUnder(box.root));
});

test("a second mount that is no copy stays, and down says where it is", async () => {
  const { box, args } = await sharedVolume("shared");
  // Of the same peer group, but it hangs on another mount.
  const bound = box.folder("bound");
  command("mount", "--bind", dockerOf(box), bound);
  const { message } = await fails(volume(box, "down", args), "busy");
  expect(message).toContain(`also mounted at ${bound}`);
  expectMounted(box.root, btrfsUnder(box.root));
});

test("copies in the mount namespace of a service go along", async () => {
  const box = sandbox();
  const { device } = box.disk(300 * MiB);
  const tree = box.mount("tree", "root", "-t", "tmpfs");
  command("mount", "--make-shared", tree);
  const { uuid } = await up(box, "--device", device);
  const argv = ["unshare", "--mount", "--propagation", "slave"] as const;
  await box.spawnUntilReady([...argv, "sh", "-c", "echo ready; exec sleep 1000"]);
  await down(box, "--device", device);
  expect(filesystemGone(uuid ?? "")).toBeTrue();
});
