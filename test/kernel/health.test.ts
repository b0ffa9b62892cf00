import { expect, test } from "bun:test";
import { rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { agent, type start, up } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { GiB, MiB, resize } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { dockerOf, preparedDisk, rawOf } from "../kit/volume.ts";

const sandbox = useSandbox();

async function check(
  box: Sandbox,
  args: readonly string[],
  options?: Parameters<typeof start>[1],
): Promise<number> {
  const run = (...more: readonly string[]) =>
    agent(["volume", "status", "--check", "--root", box.root, ...args, ...more], options);
  const [text, json] = [await run(), await run("--json")];
  expect(json.exitCode).toBe(text.exitCode);
  return text.exitCode;
}

test("a health check tells healthy from a warning, and that from what is critical", async () => {
  const box = sandbox();
  const { image, device } = box.disk(GiB);
  await up(box, "--device", device);
  const args = ["--device", device];
  expect(await check(box, args)).toBe(0);
  expect(await status(box, args)).toMatchObject({ healthy: true, problems: [] });

  resize(image, 2 * GiB);
  command("losetup", "--set-capacity", device);
  expect(await check(box, args)).toBe(1);
  expect(await status(box, args)).toMatchObject({
    healthy: false,
    problems: [{ code: "larger-disk", level: "warning" }],
  });
  await up(box, ...args);
  expect(await check(box, args)).toBe(0);

  box.umount(dockerOf(box));
  expect(await check(box, args)).toBe(2);
  expect(await status(box, args)).toMatchObject({
    healthy: false,
    problems: [{ code: "partial", level: "critical" }],
  });
});

test("a volume that is down, and one whose disk is gone, are critical", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  expect(await check(box, ["--device", device])).toBe(2);
  expect(await check(box, ["--device", box.path("none")])).toBe(2);
  expect(await check(box, ["--image", box.path("none.img")])).toBe(2);
});

test("a health check that could not tell says just that", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  await up(box, "--device", device);
  expect(await check(box, ["--device", image])).toBe(3);
  expect(await check(box, ["--device", device, "--bogus"])).toBe(3);
  expect(await check(box, ["--device", device, "--layout", box.path("none.json")])).toBe(3);
  command("chmod", "755", box.dir);
  const setpriv = [tool("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"];
  expect(await check(box, ["--device", device], { prefix: setpriv })).toBe(3);
});

test("without --check an answer is exit status 0, whatever it says", async () => {
  const box = sandbox();
  const run = await agent(["volume", "status", "--root", box.root, "--device", box.path("none")]);
  expect(run.exitCode).toBe(0);
});

test("--check belongs to status", async () => {
  const box = sandbox();
  for (const action of ["up", "plan", "down"]) {
    const run = await agent(["volume", action, "--root", box.root, "--check"]);
    expect(run.exitCode).toBe(2);
  }
});

test("an error tells the system call that failed, and its number", async () => {
  const box = sandbox();
  const run = await agent([
    "volume",
    "up",
    "--json",
    "--root",
    box.root,
    "--image",
    join(box.dir, "no", "such", "image"),
  ]);
  expect(JSON.parse(run.stdout)).toMatchObject({
    error: { code: "device-missing", errno: 2, call: "openat2" },
  });
});

test("a NOCOW directory that is missing is a problem that `volume up` solves", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  rmSync(join(rawOf(box), "@docker", "image"), { recursive: true, force: true });
  const before = await status(box, ["--device", device]);
  if (before.problems.length > 0) {
    expect(before.problems).toMatchObject([{ code: "not-nocow", level: "warning" }]);
  }
  await up(box, "--device", device);
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true, problems: [] });
});

/** A volume in an image on a tmpfs of this size. */
async function hosted(box: Sandbox, hostBytes: number, imageSize: string) {
  const host = box.mount("tmpfs", "host", "-t", "tmpfs", "-o", `size=${hostBytes}`);
  const image = join(host, "disk.img");
  const { device } = await up(box, "--image", image, "--size", imageSize);
  return { host, image, device: device ?? "" };
}

/** What the host can still give, as `df` has it. */
function left(host: string): number {
  const { bavail, bsize } = statfsSync(host);
  return bavail * bsize;
}

test("`writable` is never more than the host of a sparse image has left", async () => {
  const box = sandbox();
  const { host, image, device } = await hosted(box, 256 * MiB, "1G");
  for (const where of [
    ["--image", image],
    ["--device", device],
  ]) {
    const answer = await status(box, where);
    expect(answer.bytes.writable).toBeGreaterThan(0);
    expect(answer.bytes.writable).toBeLessThanOrEqual(left(host));
    expect(answer.problems).toMatchObject([{ code: "host-space", level: "warning" }]);
  }
  tryCommand("dd", "if=/dev/zero", `of=${join(host, "filler")}`, "bs=64K");
  const full = await status(box, ["--image", image]);
  expect(full).toMatchObject({ state: "up", readOnly: false, bytes: { writable: 0 } });
  expect(full.problems).toMatchObject([{ code: "host-space", level: "critical" }]);
  rmSync(join(host, "filler"));
  command("mount", "-o", "remount,size=2G", host);
  expect(await status(box, ["--image", image])).toMatchObject({ healthy: true, problems: [] });
});

test("an image that has all of its space already needs none of its host", async () => {
  const box = sandbox();
  const { host, image, device } = await hosted(box, 320 * MiB, "256M");
  command("fallocate", "--length", "256M", image);
  tryCommand("dd", "if=/dev/zero", `of=${join(host, "filler")}`, "bs=64K");
  expect(left(host)).toBe(0);
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true, problems: [] });
  command("dd", "if=/dev/urandom", `of=${join(dockerOf(box), "file")}`, "bs=1M", "count=32");
  command("sync", "--file-system", rawOf(box));
});
