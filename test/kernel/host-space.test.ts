import { expect, test } from "bun:test";
import { closeSync, existsSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { agent, down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { GiB, MiB } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { replaceMkfs } from "../kit/mkfs.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { dockerOf, expectMounted, ourMounts, writeMarker } from "../kit/volume.ts";

const sandbox = useSandbox();

/** A filesystem of this size; an image goes in it. */
function hostOf(
  box: Sandbox,
  sizeBytes: number,
): { readonly host: string; readonly image: string } {
  const host = box.mount("tmpfs", "host", "-t", "tmpfs", "-o", `size=${sizeBytes}`);
  return { host, image: join(host, "disk.img") };
}

function fill(path: string): void {
  const fd = openSync(path, "wx");
  try {
    for (;;) writeSync(fd, Buffer.alloc(MiB, 0x5a));
  } catch (error) {
    expect(String(error)).toContain("ENOSPC");
  } finally {
    closeSync(fd);
  }
}

test("an image that may become larger than its host has left is a note beforehand, and a problem", async () => {
  const box = sandbox();
  const { host, image } = hostOf(box, 80 * MiB);
  for (const report of [
    await plan(box, "--image", image, "--size", "1G"),
    await up(box, "--image", image, "--size", "1G"),
  ]) {
    const notes = report.notes.join();
    expect(notes).toContain(image);
    expect(notes).toContain(`${host}, which it lies on, has 80 MiB left`);
  }
  expectMounted(box.root);
  // Once it is there, it is said where somebody asks.
  expect((await up(box, "--image", image)).notes).toEqual([]);
  const answer = await status(box, ["--image", image]);
  expect(answer.problems.map(({ code, level }) => [code, level])).toContainEqual([
    "host-space",
    "warning",
  ]);
  expect((await up(box, "--image", image, "--size", "2G")).notes.join()).toContain(host);
});

test("an image that its host has room for is not talked about", async () => {
  const box = sandbox();
  const { image } = hostOf(box, 600 * MiB);
  expect((await up(box, "--image", image, "--size", "512M")).notes).toEqual([]);
  const answer = await status(box, ["--image", image]);
  expect(answer.problems).toEqual([]);
});

test.each([0.25, 3, 6])(
  "a host with %d MiB is too full to format on: no-space, by its name, and no image is left",
  async (sizeMiB) => {
    const box = sandbox();
    const { host, image } = hostOf(box, sizeMiB * MiB);
    for (const verb of ["plan", "up"] as const) {
      const args = ["--image", image, "--size", "1G"];
      const error = await fails(volume(box, verb, args), "no-space");
      expect(error.message).toContain(host);
      expect(error.message).toContain(image);
      expect(error.hint).not.toContain("goes on");
      expect((await volume(box, verb, args)).exitCode).toBe(7);
    }
    expect(existsSync(image)).toBeFalse();
    expect(attachedLoops(host).size).toBe(0);
  },
);

test("an image on a full host is not formatted, and formatted once there is room", async () => {
  const box = sandbox();
  const { host, image } = hostOf(box, 64 * MiB);
  command("truncate", "--size=1G", image);
  fill(join(host, "fill"));
  const error = await fails(volume(box, "up", ["--image", image]), "no-space");
  expect(error.hint).toContain(host);
  expect(statSync(image).blocks).toBe(0);
  command("rm", join(host, "fill"));
  await up(box, "--image", image);
});

test("a host that gets full while mkfs writes", async () => {
  const box = sandbox();
  const { host, image } = hostOf(box, 64 * MiB);
  const filling = replaceMkfs(box, `cat /dev/zero > '${host}/fill' 2>/dev/null; exec "$REAL" "$@"`);
  const args = ["--image", image, "--size", "1G"];
  const error = await fails(volume(box, "up", args), "no-space");
  expect(error.message).toContain(host);
  expect(ourMounts(box)).toBeEmpty();
  filling.restore();
  command("rm", join(host, "fill"));
  // What the hint says: the image is still there, or it is made again.
  expect(error.hint).toContain("run the command again");
  await up(box, ...args);
  expectMounted(box.root);
});

test("a volume whose host got full: up says why it is read-only, status too, and what to do helps", async () => {
  const box = sandbox();
  const { host, image } = hostOf(box, 64 * MiB);
  await up(box, "--image", image, "--size", "1G");
  writeMarker(box);
  command("sync", "--file-system", dockerOf(box));
  fill(join(host, "fill"));
  const fd = openSync(join(dockerOf(box), "more"), "wx");
  expect(() => {
    for (let i = 0; i < 64; i += 1) writeSync(fd, crypto.getRandomValues(new Uint8Array(65_536)));
    fsyncSync(fd);
  }).toThrow();
  closeSync(fd);
  Bun.spawnSync(["sync", "--file-system", dockerOf(box)]);
  const error = await fails(volume(box, "up", ["--image", image]), "no-space");
  expect(error.message).toContain(host);
  const words = ["volume", "status", "--image", image, "--root", box.root];
  const { stdout } = await agent([...words, "--json"]);
  expect(JSON.parse(stdout).problems).toContainEqual(
    expect.objectContaining({ code: "host-space", level: "critical" }),
  );
  command("rm", join(host, "fill"));
  await down(box, "--image", image);
  await up(box, "--image", image);
  expectMounted(box.root);
});

test("a loop device on such a host says the same", async () => {
  const box = sandbox();
  const { host, image } = hostOf(box, 3 * MiB);
  command("truncate", `--size=${GiB}`, image);
  const device = box.attach(image);
  const error = await fails(volume(box, "up", ["--device", device]), "no-space");
  expect(error.message).toContain(host);
});
