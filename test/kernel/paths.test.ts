import { expect, test } from "bun:test";
import { mkdirSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { agent, down, fails, plan, reported, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { GiB, nonZeroBlocks } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { parseReport } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import {
  dockerOf,
  expectMounted,
  markerIsThere,
  ourMounts,
  preparedDisk,
  wantedMounts,
} from "../kit/volume.ts";

const sandbox = useSandbox();

const names: readonly (readonly [string, string])[] = [
  ["a space", "my data disk"],
  ["leading and trailing spaces", " padded "],
  ["unicode", "Grüße-数据-🦊"],
  ["a combining character", "cafe\u0301"],
  ["a backslash", "back\\slash"],
  ["a backslash before digits", "looks\\040escaped"],
  ["a newline", "two\nlines"],
  ["a trailing newline", "line\n"],
  ["a tab", "tab\tstop"],
  ["a hash and quotes", `#"quoted" 'and' $HOME`],
  ["a comma and an equals sign", "a,subvol=@k3s"],
  ["a percent sign", "100%s %n"],
  ["the word (deleted)", "disk (deleted)"],
  ["200 letters", "n".repeat(200)],
];

test.each(names)("%s in the path of --root works, and is found again", async (_, name) => {
  const box = sandbox();
  const root = box.path(name);
  const { device } = box.disk(GiB);
  const args = ["--device", device, "--root", root];
  const first = await up(box, ...args);
  expect(first.mounts.map(({ path }) => path)).toContain(join(root, "var/lib/docker"));
  expectMounted(root);
  expect((await plan(box, ...args)).outcome).toBe("unchanged");
  expect((await up(box, ...args)).outcome).toBe("unchanged");
  await down(box, ...args);
  expect(ourMounts(box, root)).toBeEmpty();
});

test.each(names)("%s in the path of --image works, and is found again", async (_, name) => {
  const box = sandbox();
  const image = box.path(name);
  const first = await up(box, "--image", image, "--size", "1G");
  expectMounted(box.root);
  const second = await up(box, "--image", image, "--size", "1G");
  expect(second).toMatchObject({ outcome: "unchanged", device: first.device });
  expect(attachedLoops(box.dir).size).toBe(1);
  await down(box, "--image", image);
  expect(attachedLoops(box.dir).size).toBe(0);
});

test.each(names)("%s in the path of a device node works, and is found again", async (_, name) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const node = box.path(name);
  const { rdev } = statSync(device);
  command("mknod", node, "b", String(rdev >> 8), String(rdev & 0xff));
  await up(box, "--device", node);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  expect((await up(box, "--device", node)).outcome).toBe("unchanged");
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
  await down(box, "--device", node);
  expect(ourMounts(box)).toBeEmpty();
});

test.each(names)("%s in a missing device's path is in the message as it is", async (_, name) => {
  const box = sandbox();
  const path = box.path(name);
  const error = await fails(volume(box, "up", ["--device", path, "--wait", "0"]), "device-missing");
  expect(error.message).toContain(path);
});

test("a root folder that is a symbolic link is found again", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const real = box.folder("real");
  const link = box.path("link");
  symlinkSync(real, link);
  await up(box, "--device", device, "--root", link);
  expectMounted(real);
  expect((await up(box, "--device", device, "--root", link)).outcome).toBe("unchanged");
  expect((await up(box, "--device", device, "--root", real)).outcome).toBe("unchanged");
  await down(box, "--device", device, "--root", link);
  expect(ourMounts(box, real)).toBeEmpty();
});

test("a symbolic link on the way to a target is followed and found again, or refused by name", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  mkdirSync(join(box.root, "var"), { recursive: true });
  mkdirSync(join(box.root, "big/lib"), { recursive: true });
  symlinkSync("../big/lib", join(box.root, "var/lib"));
  const { report } = await volume(box, "up", ["--device", device]);
  if (report.error === null) {
    expect((await up(box, "--device", device)).outcome).toBe("unchanged");
    expect(ourMounts(box)).toHaveLength(6);
  } else {
    expect(report.error.code).toBe("target-occupied");
    expect(report.error.message).toMatch(/symbolic link/);
  }
  await down(box, "--device", device);
  expect(ourMounts(box)).toBeEmpty();
});

test.each(["root", "./root", "sub/../root", "root/", "root//"])(
  "--root %s is relative to where one stands",
  async (root) => {
    const box = sandbox();
    box.folder("sub");
    const { device } = box.disk(GiB);
    const args = ["--device", device, "--root", root, "--json"];
    const { exitCode } = await agent(["volume", "up", ...args], { cwd: box.dir });
    expect(exitCode).toBe(0);
    expectMounted(box.root);
    const again = await agent(["volume", "up", ...args], { cwd: box.dir });
    expect(parseReport(again.stdout).outcome).toBe("unchanged");
  },
);

test("--image is relative to where one stands, and the same image as its whole path", async () => {
  const box = sandbox();
  const args = ["--root", box.root, "--size", "1G", "--image"];
  const first = await agent(["volume", "up", ...args, "disk.img"], { cwd: box.dir });
  expect(first.exitCode).toBe(0);
  expect((await up(box, "--image", box.path("disk.img"))).outcome).toBe("unchanged");
  expect(attachedLoops(box.dir).size).toBe(1);
});

test.each(["new/../root", "root/.", "./other/../root/./"])(
  "a root folder that is missing is made when it is called %s",
  async (name) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const root = `${box.dir}/${name}`;
    await succeeds(
      reported("up", agent(["volume", "up", "--json", "--device", device, "--root", root])),
    );
    expectMounted(box.root);
  },
);

test("a root folder that cannot be made is named", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  symlinkSync("nowhere", box.path("dangling"));
  const root = box.path("dangling/root");
  const run = agent(["volume", "up", "--json", "--device", device, "--root", root]);
  const { message } = await fails(reported("up", run), "mount-failed");
  expect(message).toContain(`--root ${root}`);
});

test("a root folder and its parents are made", async () => {
  const box = sandbox();
  const root = box.path("a", "b", "c");
  await up(box, "--device", box.disk(GiB).device, "--root", root);
  expectMounted(root);
});

test.each([
  ["a mount point", ""],
  ["--root", "/not/there"],
])(
  "%s that cannot be made on a read-only filesystem keeps a disk from being formatted",
  async (_, below) => {
    const box = sandbox();
    const { device, image } = box.disk(GiB);
    const root = box.mount("tmpfs", "read-only", "-t", "tmpfs", "-o", "ro");
    const args = ["--device", device, "--root", `${root}${below}`];
    for (const action of ["plan", "up"] as const) {
      const { message } = await fails(volume(box, action, args), "read-only");
      expect(message).toContain(`${root} is mounted read-only`);
    }
    expect(nonZeroBlocks(image)).toBeEmpty();
  },
);

test("a read-only root that has the mount points is as good as any", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const root = box.mount("tmpfs", "read-only", "-t", "tmpfs");
  // "/@docker /…/var/lib/docker": what is mounted, and where.
  for (const mount of wantedMounts(root)) {
    mkdirSync(mount.slice(mount.indexOf(root)), { recursive: true });
  }
  command("mount", "-o", "remount,ro", root);
  await up(box, "--device", device, "--root", root);
  const inside = mountsUnder(root).filter(({ path }) => path !== root);
  expectMounted(root, inside);
});

test("a file as --root is refused, and named", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const file = box.image(10, "file");
  const { report } = await volume(box, "up", ["--device", device, "--root", file]);
  expect(report.error).not.toBeNull();
  expect(report.error?.code).not.toBe("internal");
  expect(report.error?.message).toContain(file);
  expect(ourMounts(box)).toBeEmpty();
  expect(statSync(dockerOf(box)).isDirectory()).toBeTrue();
});
