import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { down, fails, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { expectRefused } from "../kit/refusal.ts";
import { useSandbox } from "../kit/sandbox.ts";
import {
  btrfsDisk,
  dockerOf,
  expectMounted,
  layout,
  ourMounts,
  preparedDisk,
  withWholeFilesystem,
} from "../kit/volume.ts";

const sandbox = useSandbox();

const imposters: readonly (readonly [string, (path: string) => void])[] = [
  ["a plain directory", (path) => mkdirSync(path)],
  ["a file", (path) => writeFileSync(path, "precious")],
  ["a dangling symbolic link", (path) => symlinkSync("nowhere", path)],
  [
    "a symbolic link to a subvolume",
    (path) => {
      command("btrfs", "subvolume", "create", `${path}-real`);
      symlinkSync(`${path}-real`, path);
    },
  ],
  ["a fifo", (path) => void command("mkfifo", path)],
];

const imposterRows = imposters.flatMap(([what, make]) =>
  ["@docker", "@cni"].map((name) => [name, what, make] as const),
);

test.each(imposterRows)(
  "%s that is %s is refused by name, and nothing stays mounted",
  async (name, _, make) => {
    const box = sandbox();
    const disk = btrfsDisk(box);
    withWholeFilesystem(disk, box, (top) => make(join(top, name)));
    const error = await fails(volume(box, "up", ["--device", disk.device]), "not-a-subvolume");
    expect(error.message).toContain(name);
    expect(error.report.steps.at(-1)).toMatchObject({ step: "subvolumes", outcome: "failed" });
    expect(ourMounts(box)).toBeEmpty();
    expect(mountsUnder(box.dir)).toBeEmpty();
  },
);

test("a directory in the place of a subvolume keeps its files", async () => {
  const box = sandbox();
  const disk = btrfsDisk(box);
  withWholeFilesystem(disk, box, (top) => {
    mkdirSync(join(top, "@docker"));
    writeFileSync(join(top, "@docker/precious"), "kept");
  });
  await fails(volume(box, "up", ["--device", disk.device]), "not-a-subvolume");
  withWholeFilesystem(disk, box, (top) => {
    expect(readFileSync(join(top, "@docker/precious"), "utf8")).toBe("kept");
  });
});

test("a directory that is in the way of a NOCOW directory's name is not removed", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  withWholeFilesystem(disk, box, (top) => {
    command("rm", "-r", join(top, "@docker/network"));
    writeFileSync(join(top, "@docker/network"), "a file");
  });
  const { report } = await volume(box, "up", ["--device", disk.device]);
  // A failure to set NOCOW is a note: the volume comes up, the file stays.
  expect(report.error).toBeNull();
  expect(report.notes.join("\n")).toContain("network");
  expect(readFileSync(join(dockerOf(box), "network"), "utf8")).toBe("a file");
});

const targets = layout.map(({ path }) => path);

test.each(targets)("a tmpfs mounted at %s is refused by name", async (target) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = box.mount("tmpfs", join(box.root, target), "-t", "tmpfs");
  writeFileSync(join(path, "precious"), "");
  const report = await expectRefused(box, ["--device", device], {
    code: "target-occupied",
    names: [path, "tmpfs"],
    device,
  });
  expect(report.steps.at(-1)?.outcome).toBe("failed");
  expect(existsSync(join(path, "precious"))).toBeTrue();
  expect(ourMounts(box)).toEqual([`/ ${path}`]);
});

test("an empty tmpfs at a target is refused with --cover too: the daemon's data would be hidden", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  box.mount("tmpfs", dockerOf(box), "-t", "tmpfs");
  await fails(volume(box, "up", ["--device", device]), "target-occupied");
});

test("a root folder that itself lies on tmpfs is as good as any", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const root = join(box.mount("tmpfs", "ram", "-t", "tmpfs"), "root");
  await up(box, "--device", device, "--root", root);
  expectMounted(root);
  await down(box, "--device", device, "--root", root);
  expect(ourMounts(box, root)).toBeEmpty();
});

test("a target under the wrong subvolume is refused by name", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = box.mount(device, dockerOf(box), "-o", "subvol=@k3s");
  const error = await fails(volume(box, "up", ["--device", device]), "target-occupied");
  expect(error.message).toContain(path);
  expect(ourMounts(box)).toEqual([`/@k3s ${path}`]);
});

test("a target under another filesystem's subvolume of the same name is refused", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const stranger = btrfsDisk(box);
  withWholeFilesystem(stranger, box, (top) => {
    command("btrfs", "subvolume", "create", join(top, "@docker"));
  });
  const path = box.mount(stranger.device, dockerOf(box), "-o", "subvol=@docker");
  await expectRefused(box, ["--device", device], { code: "target-occupied", names: [path] });
});

test("the internal mount point under something else is refused", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = box.mount("tmpfs", join(box.root, "run/arcbox/data"), "-t", "tmpfs");
  await expectRefused(box, ["--device", device], { code: "target-occupied", names: [path] });
});

test.each(targets)("%s with files in it is refused by name, and the files stay", async (target) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = join(box.root, target);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "precious"), "kept");
  await expectRefused(box, ["--device", device], {
    code: "target-occupied",
    names: [path, /--cover/],
    device,
  });
  expect(readFileSync(join(path, "precious"), "utf8")).toBe("kept");
});

test("a blank disk is not formatted when a target is occupied anyway", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  mkdirSync(dockerOf(box), { recursive: true });
  writeFileSync(join(dockerOf(box), "precious"), "kept");
  const { report } = await volume(box, "up", ["--device", device]);
  expect(report.error?.code).toBe("target-occupied");
  expect(ourMounts(box)).toBeEmpty();
});

test("--cover mounts over files, which are there again after down", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = dockerOf(box);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "precious"), "kept");
  await up(box, "--device", device, "--cover");
  expectMounted(box.root);
  expect(existsSync(join(path, "precious"))).toBeFalse();
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
  await down(box, "--device", device);
  expect(readFileSync(join(path, "precious"), "utf8")).toBe("kept");
});

test.each([
  ["the last target", "/var/lib/cni"],
  ["a folder above a target", "/var/lib/rancher"],
  ["the folder of all targets", "/var/lib"],
  ["the internal mount point", "/run/arcbox/data"],
])("a file in the place of %s fails without leaving a mount", async (_, path) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const file = join(box.root, path);
  command("rm", "-r", "-f", file);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "kept");
  const { report } = await volume(box, "up", ["--device", device]);
  expect(["target-occupied", "mount-failed"]).toContain(report.error?.code ?? "");
  expect(`${report.error?.message}`).toContain(file);
  expect(ourMounts(box)).toBeEmpty();
  expect(readFileSync(file, "utf8")).toBe("kept");
});

test("mounts that an earlier run made survive a later run's failure", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const cni = join(box.root, "var/lib/cni");
  box.umount(cni);
  box.umount(dockerOf(box));
  writeFileSync(join(cni, "in the way"), "");
  const before = ourMounts(box);
  await fails(volume(box, "up", ["--device", device]), "target-occupied");
  expect(ourMounts(box)).toEqual(before);
});

test("the outcome names the step that failed, and it is the last one", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  writeFileSync(join(dockerOf(box), "in the way"), "");
  const { report } = await volume(box, "up", ["--device", device]);
  expect(report.outcome).toBe("failed");
  expect(report.steps.filter(({ outcome }) => outcome === "failed")).toHaveLength(1);
  expect(report.steps.at(-1)?.outcome).toBe("failed");
});
