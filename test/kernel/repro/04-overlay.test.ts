import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { down, fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { GiB } from "../../kit/image.ts";
import { mountsUnder } from "../../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status } from "../../kit/status.ts";
import { dockerOf, expectMounted, filesystemGone } from "../../kit/volume.ts";

const sandbox = useSandbox();

async function mountedVolume(box: Sandbox): Promise<{ device: string; uuid: string }> {
  const { device } = box.disk(GiB);
  const { uuid } = await up(box, "--device", device);
  return { device, uuid: uuid ?? "" };
}

interface Layers {
  readonly lower: string;
  readonly upper: string;
  readonly work: string;
}

function makeLayers(folder: string): Layers {
  const layers = {
    lower: join(folder, "lower"),
    upper: join(folder, "upper"),
    work: join(folder, "work"),
  };
  for (const path of Object.values(layers)) mkdirSync(path, { recursive: true });
  return layers;
}

/** `down` refuses with these words, all six mounts stay, and once `end` is done it succeeds. */
async function expectLeftAlone(
  box: Sandbox,
  { device, uuid }: { readonly device: string; readonly uuid: string },
  words: readonly string[],
  end: () => unknown,
): Promise<void> {
  const error = await fails(volume(box, "down", ["--device", device]), "busy");
  for (const word of words) expect(error.message).toContain(word);
  const ours = mountsUnder(box.root).filter(({ type }) => type === "btrfs");
  expectMounted(box.root, ours);
  await end();
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
}

/** An overlay's options, from layers in the volume and others beside it. */
const overlays: readonly (readonly [
  how: string,
  options: (inside: Layers, beside: Layers, box: Sandbox) => string,
])[] = [
  [
    "all its layers",
    ({ lower, upper, work }) => `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
  ],
  ["its lower layer alone", ({ lower }, beside) => `lowerdir=${lower}:${beside.lower}`],
  ["the last of its lower layers", ({ lower }, beside) => `lowerdir=${beside.lower}:${lower}`],
  [
    "its upper layer alone",
    ({ upper, work }, { lower }) => `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
  ],
  [
    "a layer with every letter that is escaped",
    ({ lower }, beside) => {
      const odd = join(lower, "a b:c,d\\e");
      mkdirSync(odd);
      return `lowerdir=${odd.replace(/[\\:,]/g, "\\$&")}:${beside.lower}`;
    },
  ],
  [
    "a layer that is named by a link",
    ({ lower }, beside, box) => {
      const link = box.path("link");
      symlinkSync(lower, link);
      return `lowerdir=${link}:${beside.lower}`;
    },
  ],
];

test.each(overlays)(
  "down names an overlay that has %s in the volume, and leaves all six mounts",
  async (_how, options) => {
    const box = sandbox();
    const volumeOf = await mountedVolume(box);
    const inside = makeLayers(join(box.root, "var/lib/rancher/k3s/s"));
    const beside = makeLayers(box.folder("beside"));
    const rootfs = box.mount(
      "overlay",
      "rootfs",
      "-t",
      "overlay",
      "-o",
      options(inside, beside, box),
    );
    await expectLeftAlone(box, volumeOf, [rootfs], () => box.umount(rootfs));
  },
);

test("an overlay in another mount namespace is named with the process that lives there", async () => {
  const box = sandbox();
  const volumeOf = await mountedVolume(box);
  const { lower, upper, work } = makeLayers(join(dockerOf(box), "overlay2"));
  const rootfs = box.folder("rootfs");
  // Of the copies that the namespace came with, none is left.
  const script = `mount -t overlay -o "lowerdir=${lower},upperdir=${upper},workdir=${work}" overlay ${rootfs}
for mount in $(awk -v root="${box.root}/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo); do umount $mount; done
echo ready; exec sleep 1000`;
  const argv = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script] as const;
  const child = await box.spawnUntilReady([...argv]);
  await expectLeftAlone(box, volumeOf, [rootfs, String(child.pid)], async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
});

test("a container that was given a directory of the volume is named", async () => {
  const box = sandbox();
  const volumeOf = await mountedVolume(box);
  const data = join(dockerOf(box), "given");
  mkdirSync(data);
  const place = box.folder("container");
  const script = `mount --bind ${data} ${place}
for mount in $(awk -v root="${box.root}/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo); do umount $mount; done
echo ready; exec sleep 1000`;
  const argv = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script] as const;
  const child = await box.spawnUntilReady([...argv]);
  await expectLeftAlone(box, volumeOf, [place, "@docker/given", String(child.pid)], async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
});

test("what is mounted below the volume is named", async () => {
  const box = sandbox();
  const volumeOf = await mountedVolume(box);
  const below = join(dockerOf(box), "below");
  mkdirSync(below);
  box.mount("tmpfs", below, "-t", "tmpfs");
  await expectLeftAlone(box, volumeOf, [below, "tmpfs"], () => box.umount(below));
});

test("what is mounted over a part of the volume is named", async () => {
  const box = sandbox();
  const volumeOf = await mountedVolume(box);
  box.mount("tmpfs", dockerOf(box), "-t", "tmpfs");
  const { message } = await fails(volume(box, "down", ["--device", volumeOf.device]), "busy");
  expect(message).toContain(`over ${dockerOf(box)}`);
  box.umount(dockerOf(box));
  await down(box, "--device", volumeOf.device);
});

test("an overlay that nobody can see beforehand leaves all six mounts too, for they are mounted again", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  const folder = join(dockerOf(box), "overlay2");
  makeLayers(folder);
  command("mount", "-o", "remount,noexec,nosuid", join(box.root, "var/lib/cni"));
  // Named from a directory that the table does not tell, as Docker does it when there are many layers.
  const rootfs = box.folder("rootfs");
  command("sh", "-c", `cd ${folder} && mount -t overlay -o lowerdir=lower:upper overlay ${rootfs}`);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain("was mounted again");
  expect(message).toContain(`perhaps an overlay: ${rootfs} (its layer lower)`);
  const mounts = expectMounted(box.root);
  const cni = mounts.find(({ root }) => root === "/@cni");
  expect(cni?.options).toEqual(expect.arrayContaining(["noexec", "nosuid", "noatime"]));
  box.umount(rootfs);
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
});

test("of a filesystem that is mounted, but not where it belongs, status says what keeps it", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  const { lower, upper, work } = makeLayers(join(dockerOf(box), "s"));
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  const rootfs = box.mount("overlay", "rootfs", "-t", "overlay", "-o", options);
  for (const { path } of expectMounted(box.root).toReversed()) command("umount", path);
  const seen = await status(box, ["--device", device]);
  expect(seen.state).toBe("down");
  expect(seen.problems.map(({ message }) => message).join()).toContain(rootfs);
  const report = await up(box, "--device", device);
  expect(report.notes.join()).toContain(rootfs);
  expect(report.notes.join()).not.toContain("namespace");
  box.umount(rootfs);
  await down(box, "--device", device);
  expect(filesystemGone(uuid)).toBeTrue();
});
