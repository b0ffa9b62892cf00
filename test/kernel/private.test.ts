import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { expectMounted, permissions, rawOf } from "../kit/volume.ts";

const sandbox = useSandbox();

const asNobody = (...argv: readonly string[]) =>
  tryCommand("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...argv);

/** The directory that holds the mount of the whole filesystem. */
const holderOf = (box: Sandbox): string => join(box.root, "run/arcbox");

function layoutFile(box: Sandbox, rawPath: string, path: string): string {
  const file = box.path("layout.json");
  writeFileSync(file, JSON.stringify({ rawPath, subvolumes: [{ name: "@a", path }] }));
  return file;
}

test("no user sees through the raw mount what a folder of a daemon hides", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  chmodSync(box.dir, 0o755);
  const secret = join(box.root, "var/lib/kubelet/secret");
  writeFileSync(secret, "secret");
  expect(asNobody(tool("cat"), secret).stdout).toBe("secret");
  chmodSync(join(box.root, "var/lib"), 0o700);
  expect(asNobody(tool("cat"), secret).exitCode).not.toBe(0);
  const throughRaw = join(rawOf(box), "@kubelet/secret");
  expect(asNobody(tool("cat"), throughRaw).stderr).toContain("Permission denied");
  expect(permissions(holderOf(box))).toBe("700");
  expect(permissions(join(box.root, "run"))).toBe("755");
});

test("the raw mount starts no program with rights and opens no device, the others do", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  for (const { path, options } of mountsUnder(box.root)) {
    const isRaw = path === rawOf(box);
    expect(`${path} ${options.includes("nosuid")}`).toBe(`${path} ${isRaw}`);
    expect(`${path} ${options.includes("nodev")}`).toBe(`${path} ${isRaw}`);
  }
});

test.each(["755", "777", "711", "1777"])(
  "a directory of ours that is there with mode %s is closed, and plan says so",
  async (mode) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    mkdirSync(holderOf(box), { recursive: true });
    command("chmod", mode, holderOf(box));
    const planned = await plan(box, "--device", device);
    expect(permissions(holderOf(box))).toBe(mode);
    const done = await up(box, "--device", device);
    expect(permissions(holderOf(box))).toBe("700");
    const detailOf = (report: typeof done) => report.steps.find(({ step }) => step === "mount");
    expect(detailOf(planned)?.detail).toBe(detailOf(done)?.detail ?? "");
  },
);

test("a volume that is up with its directory open is closed by the next run, once", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  chmodSync(holderOf(box), 0o755);
  expect(stepOutcomes(await plan(box, "--device", device))).toMatchObject({ mount: "changed" });
  expect(stepOutcomes(await up(box, "--device", device))).toMatchObject({ mount: "changed" });
  expect(permissions(holderOf(box))).toBe("700");
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
  expectMounted(box.root);
});

test("a directory of another user is not ours to close", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  mkdirSync(holderOf(box), { recursive: true });
  command("chown", "65534", holderOf(box));
  await up(box, "--device", device);
  expect(permissions(holderOf(box))).toBe("755");
});

test.each<[string, string, string, string, string]>([
  ["is made for root alone", "/srv/one/raw", "/srv/two/a", "srv/one", "700"],
  ["leads to a subvolume too", "/srv/one/raw", "/srv/one/a", "srv/one", "755"],
  ["leads deep down to a subvolume too", "/srv/one/raw", "/srv/one/x/y", "srv/one", "755"],
  ["is at the top", "/srv/raw", "/var/a", "srv", "755"],
])("of another layout, a directory that %s", async (_, rawPath, path, holder, mode) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const args = ["--device", device, "--layout", layoutFile(box, rawPath, path)];
  await up(box, ...args);
  expect(permissions(join(box.root, holder))).toBe(mode);
  expect(permissions(join(box.root, holder.split("/")[0] ?? ""))).toBe("755");
  await down(box, ...args);
});

test.each<[string, readonly string[], RegExp]>([
  ["another user owns", ["chown", "65534"], /belongs to the user 65534.*chown root/],
  ["every user may write to", ["chmod", "666"], /others may write.*chmod go-w/],
  ["a group may write to", ["chmod", "660"], /others may write.*chmod go-w/],
])("an image that %s is a note, and what it says helps", async (_, [how = "", what = ""], said) => {
  const box = sandbox();
  const image = box.image(GiB, "my disk.img");
  command(how, what, image);
  expect((await plan(box, "--image", image)).notes).toEqual([expect.stringMatching(said)]);
  const { notes } = await up(box, "--image", image);
  expect(notes).toEqual([expect.stringMatching(said)]);
  expect((await status(box, ["--image", image])).notes).toEqual([expect.stringMatching(said)]);
  const [fix = ""] = /ch(?:own|mod) .*$/.exec(notes[0] ?? "") ?? [];
  command("sh", "-e", "-c", fix);
  expect((await up(box, "--image", image)).notes).toBeEmpty();
});

test("an image that this run makes, and one that others may only read, are no note", async () => {
  const box = sandbox();
  const image = box.path("new.img");
  expect((await up(box, "--image", image, "--size", "1G")).notes).toBeEmpty();
  command("chmod", "644", image);
  expect((await up(box, "--image", image)).notes).toBeEmpty();
});

test("of another layout, a directory that somebody made stays as it is", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  mkdirSync(join(box.root, "srv/one"), { recursive: true });
  await up(box, "--device", device, "--layout", layoutFile(box, "/srv/one/raw", "/srv/two/a"));
  expect(permissions(join(box.root, "srv/one"))).toBe("755");
});
