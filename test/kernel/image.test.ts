import { expect, test } from "bun:test";
import { existsSync, linkSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, up, volume } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { fingerprint, GiB, MiB, writeAt } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { expectRefused } from "../kit/refusal.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { expectMounted, ourMounts, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

test("an attached image is found again, not attached a second time", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  const first = await up(box, "--image", image, "--size", "1G");
  const second = await up(box, "--image", image);
  expect(second).toMatchObject({ outcome: "unchanged", device: first.device });
  expect(attachedLoops(box.dir).size).toBe(1);
});

test("an image is found again under another name of the same file", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  linkSync(image, box.path("hard.img"));
  expect((await up(box, "--image", box.path("hard.img"))).outcome).toBe("unchanged");
  expect(attachedLoops(box.dir).size).toBe(1);
});

test("a symbolic link to an image is followed or refused, never a second disk", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  await up(box, "--image", image, "--size", "1G");
  symlinkSync(image, box.path("link"));
  const { report } = await volume(box, "up", ["--image", box.path("link")]);
  expect(report.error?.code ?? report.outcome).toMatch(/^(unchanged|usage)$/);
  expect([...attachedLoops(box.dir).values()]).toEqual([image]);
});

test("data in its last MiB keeps an attached image from being blank, also when it is to grow", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  writeAt(image, GiB - 512 * 1024, Buffer.alloc(4096, 0x5a));
  box.attach(image);
  await expectRefused(box, ["--image", image, "--size", "2G"], { code: "unknown" });
});

test("one block of data anywhere keeps an attached image from being blank", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  writeAt(image, 333 * MiB + 4096, Buffer.alloc(4096, 0x5a));
  box.attach(image);
  await expectRefused(box, ["--image", image], { code: "unknown" });
});

test("another file under the old name is another disk", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  const first = await up(box, "--image", image, "--size", "1G");
  await down(box, "--image", image);
  const stale = box.attach(image);
  renameSync(image, box.path("old.img"));
  const report = await up(box, "--image", image, "--size", "1G");
  expect(report.verdict).toBe("blank");
  expect(report.uuid).not.toBe(first.uuid);
  expect(report.device).not.toBe(stale);
});

test("of an image that is attached twice no loop device is singled out to be detached", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  await up(box, "--device", device);
  const second = box.attach(image);
  const { message, hint } = await fails(volume(box, "up", ["--image", image]), "busy");
  expect(message).toContain(device);
  expect(message).toContain(second);
  expect(hint).not.toContain(device);
});

test("a loop device that shows only a part of the image is not taken for it", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const part = box.attach(image, "--offset", String(256 * MiB));
  const { report } = await volume(box, "up", ["--image", image]);
  if (report.error === null) expect(report.device).not.toBe(part);
  else expect(report.error.code).toBe("busy");
});

test("an image of zeros that are written out is blank", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  writeAt(image, 300 * MiB, Buffer.alloc(8 * MiB));
  expect((await up(box, "--image", image)).verdict).toBe("blank");
});

test.each([0, 4095, 65536, 3 * MiB + 17, 700 * MiB + 12345, GiB - 1])(
  "an image with one byte of data at %d is not blank",
  async (offset) => {
    const box = sandbox();
    const image = box.image(GiB);
    writeAt(image, offset, Buffer.from([1]));
    await expectRefused(box, ["--image", image], { code: "unknown" });
  },
);

test("an empty image file is made to --size", async () => {
  const box = sandbox();
  const image = box.image(0);
  expect((await up(box, "--image", image, "--size", "2G")).bytes).toBe(2 * GiB);
  expectMounted(box.root);
});

test("an image that is refused is not said to have the size that was asked for", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box, 2 * GiB);
  box.detach(device);
  command("truncate", "--size=1G", image);
  const { report } = await volume(box, "up", ["--image", image, "--size", "1536M"]);
  expect(report.error?.code).toBe("shrunk");
  expect(report.bytes).toBe(GiB);
  expect(report.steps[0]?.detail).toEndWith(", 1 GiB");
});

test("an image in a folder that does not exist is one clear error", async () => {
  const box = sandbox();
  const image = box.path("no", "such", "folder", "disk.img");
  const { report } = await volume(box, "up", ["--image", image, "--size", "1G"]);
  // Whether the folder is made is the agent's choice; what is not, is a half-made state.
  if (report.error === null) {
    expectMounted(box.root);
  } else {
    expect(report.error.code).not.toBe("internal");
    expect(report.error.message).toContain(image);
    expect(attachedLoops(box.dir).size).toBe(0);
  }
});

test("a directory as --image is refused, and named", async () => {
  const box = sandbox();
  const folder = box.folder("folder");
  const { report } = await volume(box, "up", ["--image", folder, "--size", "1G"]);
  expect(report.error).not.toBeNull();
  expect(report.error?.code).not.toBe("internal");
  expect(report.error?.message).toContain(folder);
  expect(attachedLoops(box.dir).size).toBe(0);
});

test("a block device as --image is never truncated or formatted through a second loop", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const before = fingerprint(image);
  const { report } = await volume(box, "up", ["--image", device, "--size", "2G"]);
  expect(report.error).not.toBeNull();
  expect(report.error?.code).not.toBe("internal");
  expect(fingerprint(image)).toBe(before);
});

test("a refused image leaves no loop device behind in plan", async () => {
  const box = sandbox();
  const image = box.path("text.img");
  writeFileSync(image, "some text, no disk\n".repeat(10000));
  await fails(volume(box, "plan", ["--image", image]), "unknown", "too-small");
  expect(attachedLoops(box.dir).size).toBe(0);
});

test("two volumes live beside each other", async () => {
  const box = sandbox();
  const roots = [box.path("one"), box.path("two")] as const;
  for (const root of roots) {
    mkdirSync(root);
    await up(box, "--image", `${root}.img`, "--size", "1G", "--root", root);
  }
  for (const root of roots) expectMounted(root);
  await down(box, "--image", `${roots[0]}.img`, "--root", roots[0]);
  expect(ourMounts(box, roots[0])).toBeEmpty();
  expectMounted(roots[1]);
  expect(existsSync(join(roots[1], "var/lib/docker/buildkit"))).toBeTrue();
});

test("an image larger than its filesystem's files can be is a usage error, and not made", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  const limited = { prefix: [tool("prlimit"), `--fsize=${100 * MiB}`] };
  const run = volume(box, "up", ["--image", image, "--size", "1G"], limited);
  const { message, hint } = await fails(run, "usage");
  expect(message).toContain(image);
  expect(hint).toContain("--size");
  expect(existsSync(image)).toBeFalse();
});

test("an image for which there is no inode is no-space", async () => {
  const box = sandbox();
  const folder = box.mount("tmpfs", "few", "-t", "tmpfs", "-o", "nr_inodes=1");
  const run = volume(box, "up", ["--image", `${folder}/disk.img`, "--size", "1G"]);
  expect((await fails(run, "no-space")).message).toContain(`${folder}/disk.img`);
});

test("an image that is immutable is refused, and the way out named", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  command("chattr", "+i", image);
  box.onEnd(() => command("chattr", "-i", image));
  const { message, hint } = await fails(volume(box, "up", ["--image", image]), "permission");
  expect(message).toContain(image);
  expect(hint).toContain("chattr");
});

test("without loop devices in /dev an image is not supported, and not made", async () => {
  const box = sandbox();
  const bare = box.mount("tmpfs", "dev", "-t", "tmpfs");
  command("cp", "--archive", "/dev/null", "/dev/urandom", bare);
  // What is attached and cannot be asked is told by its file's name.
  const image = box.path("bare-dev.img");
  const run = volume(box, "up", ["--image", image, "--size", "1G"], {
    prefix: [
      tool("unshare"),
      "--mount",
      "sh",
      "-c",
      `mount --bind '${bare}' /dev && exec "$@"`,
      "sh",
    ],
  });
  const { message, hint } = await fails(run, "unsupported");
  expect(message).toContain(image);
  expect(hint).toContain("modprobe loop");
  expect(existsSync(image)).toBeFalse();
});
