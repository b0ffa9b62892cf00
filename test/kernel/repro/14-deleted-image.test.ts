import { expect, test } from "bun:test";
import { existsSync, linkSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { down, fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { attachedLoops } from "../../kit/loops.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status } from "../../kit/status.ts";
import { expectMounted, markerIsThere, ourMounts, writeMarker } from "../../kit/volume.ts";

const sandbox = useSandbox();

interface Deleted {
  readonly image: string;
  readonly device: string;
}

/** A volume that is up, whose image was deleted. */
async function deletedVolume(box: Sandbox, image = box.path("data.img")): Promise<Deleted> {
  const { device } = await up(box, "--image", image, "--size", "1G");
  writeMarker(box);
  rmSync(image);
  if (device === null) throw new Error("no device");
  // The sandbox no longer finds it by its path.
  box.onEnd(() => Bun.spawnSync(["losetup", "--detach", device]));
  return { image, device };
}

const isAttached = ({ device }: Deleted): boolean =>
  existsSync(`/sys/block/${device.slice(5)}/loop`);

/** Does what a hint says to save it, and gives the copy the name that the image had. */
function save(hint: string | undefined, { image }: Deleted): void {
  const [, line] = /save it: (.*?)(?:; then, to let it go.*)?$/.exec(hint ?? "") ?? [];
  expect(line).toBeDefined();
  command("sh", "-c", `${line}`);
  command("mv", `${image}.saved`, image);
}

test("up and plan of a deleted image say so, and make no new one in its place", async () => {
  const box = sandbox();
  const deleted = await deletedVolume(box);
  const { image, device } = deleted;
  for (const verb of ["up", "plan"] as const) {
    for (const args of [[], ["--size", "2G", "--format", "any"]]) {
      const error = await fails(volume(box, verb, ["--image", image, ...args]), "busy");
      expect(error.message).toContain(`${image} was deleted`);
      expect(error.message).toContain(device);
      expect(error.hint).toContain("save it");
      expect(existsSync(image)).toBeFalse();
    }
  }
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
});

test("up of its loop device goes on, with the warning", async () => {
  const box = sandbox();
  const { image, device } = await deletedVolume(box);
  const { notes, outcome } = await up(box, "--device", device);
  expect(outcome).toBe("unchanged");
  expect(notes.join()).toContain(`${image} was deleted`);
  expect(notes.join()).toContain("save it");
});

test.each(["--image", "--device"] as const)("down wants to be told twice: %s", async (how) => {
  const box = sandbox();
  const deleted = await deletedVolume(box);
  const { image, device } = deleted;
  const named = [how, how === "--image" ? image : device];
  const before = ourMounts(box);
  const error = await fails(volume(box, "down", named), "busy");
  expect(error.message).toContain(`${image} was deleted`);
  expect(error.hint).toContain("--discard-deleted");
  expect(ourMounts(box)).toEqual(before);
  expect(markerIsThere(box)).toBeTrue();
  await down(box, ...named, "--discard-deleted");
  expect(ourMounts(box)).toBeEmpty();
  // A disk that was named by its path is never detached.
  expect(isAttached(deleted)).toBe(how === "--device");
});

test("what the hint says saves it while it is mounted, with all that is in it", async () => {
  const box = sandbox();
  const deleted = await deletedVolume(box);
  const { hint } = await fails(volume(box, "down", ["--image", deleted.image]), "busy");
  save(hint, deleted);
  await down(box, "--device", deleted.device, "--discard-deleted");
  command("losetup", "--detach", deleted.device);
  const report = await up(box, "--image", deleted.image);
  expect(report.verdict).toBe("btrfs");
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--image", deleted.image);
  command("btrfs", "check", deleted.image);
});

test("and while it is not mounted", async () => {
  const box = sandbox();
  const deleted = await deletedVolume(box);
  await down(box, "--device", deleted.device, "--discard-deleted");
  const { hint } = await fails(volume(box, "up", ["--image", deleted.image]), "busy");
  save(hint, deleted);
  command("losetup", "--detach", deleted.device);
  await up(box, "--image", deleted.image);
  expect(markerIsThere(box)).toBeTrue();
});

test("a path with spaces and quotes is quoted in what to do", async () => {
  const box = sandbox();
  const folder = box.folder("it's mine");
  const deleted = await deletedVolume(box, `${folder}/my data.img`);
  const { hint } = await fails(volume(box, "down", ["--image", deleted.image]), "busy");
  save(hint, deleted);
  expect(existsSync(deleted.image)).toBeTrue();
});

test("status says it of the image and of the device", async () => {
  const box = sandbox();
  const { image, device } = await deletedVolume(box);
  for (const named of [
    ["--image", image],
    ["--device", device],
  ]) {
    const answer = await status(box, named);
    expect(answer).toMatchObject({ state: "up", device });
    expect(JSON.stringify(answer)).toContain(`${image} was deleted`);
  }
});

test("an image whose whole folder is gone, and one that is reached through a link", async () => {
  const box = sandbox();
  const folder = box.folder("gone");
  const one = await deletedVolume(box, `${folder}/data.img`);
  rmSync(folder, { recursive: true });
  await fails(volume(box, "up", ["--image", one.image]), "busy");
  await down(box, "--image", one.image, "--discard-deleted");
  expect(isAttached(one)).toBeFalse();

  mkdirSync(box.path("real"));
  symlinkSync(box.path("real"), box.path("link"));
  const two = await deletedVolume(box, box.path("link", "data.img"));
  await fails(volume(box, "up", ["--image", two.image]), "busy");
  await down(box, "--image", two.image, "--discard-deleted");
});

test("a file that is only called so was not deleted", async () => {
  const box = sandbox();
  const image = box.path("data.img (deleted)");
  await up(box, "--image", image, "--size", "1G");
  expect((await up(box, "--image", image)).notes).toEqual([]);
  await fails(volume(box, "plan", ["--image", box.path("data.img")]), "target-occupied");
  await down(box, "--image", image);
});

test("one that has another name is found by that, and detached as usual", async () => {
  const box = sandbox();
  const image = box.path("data.img");
  await up(box, "--image", image, "--size", "1G");
  linkSync(image, box.path("other.img"));
  rmSync(image);
  expect((await up(box, "--image", box.path("other.img"))).outcome).toBe("unchanged");
});

test("an image that was moved is not deleted, and another file under the name is another disk", async () => {
  const box = sandbox();
  const deleted = await deletedVolume(box);
  await down(box, "--device", deleted.device, "--discard-deleted");
  const { device } = await up(box, "--image", box.path("new.img"), "--size", "1G");
  command("mv", box.path("new.img"), deleted.image);
  const report = await up(box, "--image", deleted.image);
  expect(report.device).toBe(device);
  expect(report.notes.join()).toContain(`${deleted.device} has the only copy`);
  expect((await down(box, "--image", deleted.image)).notes.join()).toContain(deleted.device);
  expect(attachedLoops(box.dir).size).toBe(1);
});
