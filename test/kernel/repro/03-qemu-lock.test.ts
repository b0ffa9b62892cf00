import { expect, test } from "bun:test";
import { closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";
import { agent, down, fails, plan, succeeds, up, volume } from "../../kit/agent.ts";
import { command, tryCommand } from "../../kit/command.ts";
import { compiled } from "../../kit/compiled.ts";
import { fingerprint, GiB } from "../../kit/image.ts";
import { type LockKind, lockBytes } from "../../kit/libc.ts";
import { attachedLoops } from "../../kit/loops.ts";
import { mountsUnder } from "../../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status } from "../../kit/status.ts";
import { expectMounted, markerIsThere, ourMounts, prepare, writeMarker } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** A stopped virtual machine with this disk; gives how to end it. */
function startVm(box: Sandbox, drive: string): () => Promise<void> {
  const pidFile = box.path("vm.pid");
  command(
    "qemu-system-x86_64",
    ..."-S -display none -nodefaults -machine q35 -daemonize".split(" "),
    "-drive",
    `${drive},format=raw,if=virtio`,
    "-pidfile",
    pidFile,
  );
  const pid = Number(readFileSync(pidFile, "utf8"));
  let isOver = false;
  const end = async (): Promise<void> => {
    if (isOver) return;
    isOver = true;
    process.kill(pid, "SIGKILL");
    while (existsSync(`/proc/${pid}/fd/0`)) await Bun.sleep(5);
  };
  box.onEnd(() => void end());
  return end;
}

/** An image that the agent prepared, and nothing is attached. */
async function preparedImage(box: Sandbox): Promise<string> {
  const image = box.path("data.img");
  await up(box, "--image", image, "--size", "1G");
  writeMarker(box);
  await down(box, "--image", image);
  return image;
}

test("an image whose loop device a virtual machine has for a disk is busy", async () => {
  const box = sandbox();
  const image = await preparedImage(box);
  const device = box.attach(image);
  const end = startVm(box, `file=${device}`);
  for (const named of [
    ["--image", image],
    ["--device", device],
  ]) {
    const { message } = await fails(volume(box, "up", named), "busy");
    expect(message).toContain("qemu-system");
  }
  expect(ourMounts(box)).toEqual([]);
  await end();
  await up(box, "--image", image);
  expect(markerIsThere(box)).toBeTrue();
});

test.each([
  ["for writing", ""],
  ["for reading", ",readonly=on"],
])("an image that a virtual machine has open %s is busy, and is not grown", async (_, how) => {
  const box = sandbox();
  const image = await preparedImage(box);
  const before = fingerprint(image);
  const end = startVm(box, `file=${image}${how}`);
  for (const verb of ["plan", "up"] as const) {
    const args = ["--image", image, "--size", "2G", "--format", "any", "--repair", "always"];
    const error = await fails(volume(box, verb, args), "busy");
    expect(error.message).toContain(image);
    expect(error.message).toContain("qemu-system");
  }
  expect(statSync(image).size).toBe(GiB);
  expect(fingerprint(image)).toBe(before);
  const answer = await status(box, ["--image", image]);
  expect(answer.problems[0]).toMatchObject({ code: "busy" });
  expect(attachedLoops(box.dir).size).toBe(0);
  expect(ourMounts(box)).toBeEmpty();
  await end();
  expect((await up(box, "--image", image, "--size", "2G")).bytes).toBe(2 * GiB);
  expect(markerIsThere(box)).toBeTrue();
});

test("a lock that nobody is seen to have is waited for a moment, for its owner may have ended", async () => {
  const box = sandbox();
  const image = await preparedImage(box);
  await box.spawnUntilReady([compiled(box, "hold"), "passing-lock", image]);
  await up(box, "--image", image);
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--image", image);
});

test("a blank image that a virtual machine has open is not formatted", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  startVm(box, `file=${image}`);
  await fails(volume(box, "up", ["--image", image]), "busy");
  expect(fingerprint(image)).toBe(fingerprint(box.image(GiB)));
});

test("a disk that a virtual machine has open is busy too, and so is the loop device of such an image", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await prepare(box, disk);
  const end = startVm(box, `file=${disk.device}`);
  await fails(volume(box, "up", ["--device", disk.device]), "busy");
  await end();
  startVm(box, `file=${disk.image}`);
  for (const named of [
    ["--device", disk.device],
    ["--image", disk.image],
  ]) {
    const error = await fails(volume(box, "up", named), "busy");
    expect(error.message).toContain("qemu-system");
  }
  expect(ourMounts(box)).toBeEmpty();
});

const open = (image: string, ...how: readonly string[]) =>
  tryCommand("qemu-io", ...how, "-f", "raw", "-c", "read 0 4k", image);

test("while it is attached, QEMU will not open the image, mounted or not", async () => {
  const box = sandbox();
  const image = await preparedImage(box);
  expect(open(image).exitCode).toBe(0);
  await up(box, "--image", image);
  const { exitCode, stderr } = open(image);
  expect(exitCode).not.toBe(0);
  expect(stderr).toMatch(/lock/);
  for (const how of ["", ",readonly=on"]) {
    expect(() => startVm(box, `file=${image}${how}`)).toThrow(/lock/);
  }
  // Who says that it may change meanwhile may read.
  expect(open(image, "-r", "-U").exitCode).toBe(0);
  expect(tryCommand("qemu-img", "resize", "-f", "raw", image, "3G").exitCode).not.toBe(0);
  for (const { path } of mountsUnder(box.root)) command("umount", path);
  expect(open(image).exitCode).not.toBe(0);
  await down(box, "--image", image);
  expect(open(image).exitCode).toBe(0);
});

test("its own locks are no stranger's: up, plan and status go on, and an image that is attached grows", async () => {
  const box = sandbox();
  const image = await preparedImage(box);
  await up(box, "--image", image);
  expect((await up(box, "--image", image)).outcome).toBe("unchanged");
  expect((await plan(box, "--image", image)).outcome).toBe("unchanged");
  const { exitCode } = await agent([
    "volume",
    "status",
    "--image",
    image,
    "--root",
    box.root,
    "--check",
  ]);
  expect(exitCode).toBe(0);
  expect((await up(box, "--image", image, "--size", "2G")).bytes).toBe(2 * GiB);
  const device = [...attachedLoops(box.dir).keys()][0] ?? "";
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
  expectMounted(box.root);
});

test("an image that is left attached by up and down of its device is ours again", async () => {
  const box = sandbox();
  const image = await preparedImage(box);
  const { device } = await up(box, "--image", image);
  await succeeds(volume(box, "down", ["--device", device ?? ""]));
  expect((await up(box, "--image", image)).device).toBe(device);
  expect(markerIsThere(box)).toBeTrue();
});

const others: readonly (readonly [string, LockKind, number, number])[] = [
  ["a lock of a whole file, as other virtual machines take it", "OFD write", 0, 0],
  ["a read lock of the whole file", "OFD read", 0, 0],
  ["a lock of a process", "POSIX write", 0, 0],
  ["a lock of one byte of it", "POSIX read", 512 * 1024 * 1024, 1],
  ["QEMU's lock against other writers", "OFD read", 201, 1],
  ["QEMU's lock against other sizes", "OFD read", 203, 1],
  ["QEMU's lock against other readers", "OFD read", 200, 1],
  ["a lock behind its end", "OFD write", 2 ** 40, 1],
];

test.each(others)("%s makes an image busy", async (_, kind, start, length) => {
  const box = sandbox();
  const image = box.image(GiB);
  const unlock = lockBytes(image, kind, start, length);
  box.onEnd(unlock);
  await fails(volume(box, "plan", ["--image", image]), "busy");
  const error = await fails(volume(box, "up", ["--image", image]), "busy");
  expect(error.message).toContain(image);
  expect(error.hint).toContain("lslocks");
  expect(attachedLoops(box.dir).size).toBe(0);
  unlock();
  await up(box, "--image", image);
});

test("a reader that allows the image to change is no reason to hesitate", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const unlock = lockBytes(image, "OFD read", 100, 1);
  await up(box, "--image", image);
  unlock();
});

test("an image that is open without a lock, for reading, is no reason either", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const fd = openSync(image, "r");
  await up(box, "--image", image);
  closeSync(fd);
});
