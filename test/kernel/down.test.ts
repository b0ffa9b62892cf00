import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, up, volume } from "../kit/agent.ts";
import { command, tryCommand } from "../kit/command.ts";
import { GiB, MiB } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { traced } from "../kit/trace.ts";
import {
  dockerOf,
  expectMounted,
  filesystemGone,
  ourMounts,
  rawOf,
  wantedMounts,
} from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

async function mountedVolume(box: Sandbox): Promise<{ device: string; uuid: string }> {
  const { device } = box.disk(GiB);
  const { uuid } = await up(box, "--device", device);
  return { device, uuid: uuid ?? "" };
}

test("unmounts everything, and the filesystem is really gone", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  const report = await down(box, "--device", device);
  expect(report.outcome).toBe("changed");
  expect(ourMounts(box)).toBeEmpty();
  expect(filesystemGone(uuid)).toBeTrue();
  expect(attachedLoops(box.dir).has(device)).toBeTrue();
});

test("unmounts last first", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const trace = traced(box, "umount2");
  const run = await volume(box, "down", ["--device", device], { prefix: trace.prefix });
  expect(run.exitCode).toBe(0);
  const unmounted = trace
    .calls()
    .filter((line) => line.endsWith(" = 0"))
    // Each in its open parent directory.
    .map((line) => /"\/proc\/self\/fd\/\d+\/([^"/]+)"/.exec(line)?.[1]);
  const expected = wantedMounts(box.root).map((mount) => mount.slice(mount.lastIndexOf("/") + 1));
  expect(unmounted).toEqual(expected.reverse());
});

test("detaches the loop device of --image", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  expect(attachedLoops(box.dir).size).toBe(1);
  expect((await down(box, "--image", image)).outcome).toBe("changed");
  expect(attachedLoops(box.dir).size).toBe(0);
  expect(ourMounts(box)).toBeEmpty();
});

test("detaches the loop device of an image that is not mounted any more", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  box.attach(image);
  await down(box, "--image", image);
  expect(attachedLoops(box.dir).size).toBe(0);
});

test.each<[string, (box: Sandbox) => readonly string[]]>([
  ["a disk that was never up", (box) => ["--device", box.disk(GiB).device]],
  ["an image that is not attached", (box) => ["--image", box.image(GiB)]],
  ["an image that does not exist", (box) => ["--image", box.path("none.img")]],
])("of %s does nothing, successfully", async (_, prepare) => {
  const box = sandbox();
  const args = prepare(box);
  const before = observe(box);
  expect((await down(box, ...args)).outcome).toBe("unchanged");
  expect(observe(box)).toEqual(before);
});

test("a second down is unchanged", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  await down(box, "--device", device);
  expect((await down(box, "--device", device)).outcome).toBe("unchanged");
});

test("finishes what is only partly mounted", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  box.umount(dockerOf(box));
  box.umount(join(box.root, "run/arcbox/data"));
  await down(box, "--device", device);
  expect(ourMounts(box)).toBeEmpty();
  expect(filesystemGone(uuid)).toBeTrue();
});

interface Holder {
  readonly how: string;
  readonly argv: readonly [string, ...string[]];
  readonly name: string;
  readonly inside?: boolean;
}

const holders: readonly Holder[] = [
  {
    how: "a working directory inside",
    argv: ["sh", "-c", "echo ready; exec sleep 1000"],
    name: "sleep",
    inside: true,
  },
  {
    how: "an open file",
    argv: ["sh", "-c", 'echo ready; exec tail -f "$0"/held', "DOCKER"],
    name: "tail",
  },
  {
    how: "a copy of the mounts in another namespace",
    argv: [
      "unshare",
      "--mount",
      "--propagation",
      "private",
      "sh",
      "-c",
      "echo ready; exec sleep 1000",
    ],
    name: "sleep",
  },
];

test.each(holders.map((holder) => [holder.how, holder] as const))(
  "a process with %s keeps it busy, and is named and left alone",
  async (_, { argv, name, inside }) => {
    const box = sandbox();
    const { device, uuid } = await mountedVolume(box);
    const docker = dockerOf(box);
    writeFileSync(join(docker, "held"), "");
    const [program, ...args] = argv;
    const child = await box.spawnUntilReady(
      [program, ...args.map((arg) => (arg === "DOCKER" ? docker : arg))],
      inside === true ? { cwd: docker } : {},
    );
    await waitForExec(child.pid, name);
    const error = await fails(volume(box, "down", ["--device", device]), "busy");
    expect(error.message).toContain(String(child.pid));
    expect(error.message).toContain(name);
    expect(child.exitCode).toBeNull();
    expect(filesystemGone(uuid)).toBeFalse();
    child.kill("SIGKILL");
    await child.exited;
    await down(box, "--device", device);
    expect(ourMounts(box)).toBeEmpty();
    expect(filesystemGone(uuid)).toBeTrue();
  },
);

/** The shell has said "ready" and becomes the program that holds the mount. */
async function waitForExec(pid: number, name: string): Promise<void> {
  while ((await Bun.file(`/proc/${pid}/comm`).text()).trim() !== name) await Bun.sleep(1);
}

test("the loop device of a busy image stays attached", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  await box.spawnUntilReady(["sh", "-c", "echo ready; exec sleep 1000"], { cwd: dockerOf(box) });
  await fails(volume(box, "down", ["--image", image]), "busy");
  expect(attachedLoops(box.dir).size).toBe(1);
});

test("after a busy down, up makes the volume whole again", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  await box.spawnUntilReady(["sh", "-c", "echo ready; exec sleep 1000"], { cwd: dockerOf(box) });
  await fails(volume(box, "down", ["--device", device]), "busy");
  await up(box, "--device", device);
  expectMounted(box.root);
});

test("a mount that somebody else made of the volume stays, and down says that it is in use", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const elsewhere = box.mount(device, "elsewhere");
  const error = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(`${error.message} ${error.hint}`).toContain(elsewhere);
  expect(mountsUnder(elsewhere)).toHaveLength(1);
});

test("what lies mounted below a target is not torn away in silence", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const nested = join(dockerOf(box), "nested");
  mkdirSync(nested);
  box.mount("tmpfs", nested, "-t", "tmpfs");
  writeFileSync(join(nested, "kept"), "");
  const { report } = await volume(box, "down", ["--device", device]);
  expect(report.error?.code).toBe("busy");
  expect(existsSync(join(nested, "kept"))).toBeTrue();
});

test("a frozen volume is still in use, and goes once it is thawed", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  // Frozen and without a mount, it would keep its disk until the machine is off.
  const thaw = `mount ${device} ${box.folder("thaw")}; fsfreeze -u ${box.path("thaw")}`;
  box.onEnd(() => tryCommand("sh", "-c", thaw));
  command("fsfreeze", "--freeze", rawOf(box));
  const { hint } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(hint).toContain("fsfreeze");
  await up(box, "--device", device);
  command("fsfreeze", "--unfreeze", rawOf(box));
  await down(box, "--device", device);
});

test("what a folder above hides is told, though the volume was mounted on that once more", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const folder = box.path("root/var/lib");
  box.mount(folder, folder, "--bind");
  await up(box, "--device", device);
  const error = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(error.message).toContain("or over a folder above it");
  // The hint, done literally.
  command("umount", "--recursive", folder);
  await down(box, "--device", device);
  expect(ourMounts(box)).toBeEmpty();
});

test("of another disk than the one that is up says so", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const other = box.disk(GiB);
  const report = await down(box, "--device", other.device);
  expect(report.outcome).toBe("unchanged");
  expect(report.notes.join()).toContain(`from another disk: ${device}`);
  expectMounted(box.root);
});

/** What the kernel itself keeps open, which no process of /proc shows. */
const silentHolders: readonly [string, (box: Sandbox, file: string) => string][] = [
  ["a swap file", swapOn],
  ["a loop device", (box, file) => box.attach(file)],
];

function swapOn(box: Sandbox, file: string): string {
  command("chattr", "+C", file);
  writeFileSync(file, Buffer.alloc(MiB));
  command("mkswap", file);
  box.onEnd(() => tryCommand("swapoff", file));
  command("swapon", file);
  return file;
}

test.each(silentHolders)("%s inside is named before anything is unmounted", async (_, hold) => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const file = join(dockerOf(box), "held by the kernel");
  writeFileSync(file, "", { mode: 0o600 });
  const name = hold(box, file);
  const { message } = await fails(volume(box, "down", ["--device", device]), "busy");
  expect(message).toContain(name);
  expectMounted(box.root);
});

test("a size that is asked for is not said to be the size of the disk", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  const report = await down(box, "--image", image, "--size", "3G");
  expect(report.bytes).toBe(GiB);
  expect(report.steps[0]?.detail).toContain("1 GiB");
});

test("of a disk that is not mounted, the report has the UUID that stands on it", async () => {
  const box = sandbox();
  const { device, uuid } = await mountedVolume(box);
  await down(box, "--device", device);
  expect(await down(box, "--device", device)).toMatchObject({ outcome: "unchanged", uuid });
  const blank = box.disk(GiB);
  expect(await down(box, "--device", blank.device)).toMatchObject({ uuid: null });
});
