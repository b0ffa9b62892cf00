import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "../kit/agent.ts";
import { command, tryCommand } from "../kit/command.ts";
import { Containerd, imageArchive } from "../kit/containerd.ts";
import { flipByte, GiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { rawOf } from "../kit/volume.ts";

const sandbox = useSandbox();

const containerdOf = (box: Sandbox): string => join(box.root, "var/lib/containerd");
const snapshotsOf = (box: Sandbox): string =>
  join(containerdOf(box), "io.containerd.snapshotter.v1.overlayfs/snapshots");

/** Programs, libraries and texts of this machine: what a base image of Debian holds. */
function baseTree(box: Sandbox): string {
  const tree = box.folder("tree");
  const list = box.path("list");
  const places = [
    "/usr/bin",
    "/usr/share/perl5",
    "/usr/share/zoneinfo",
    "/usr/lib/x86_64-linux-gnu",
  ];
  const there = places.filter((path) => tryCommand("test", "-d", path).exitCode === 0);
  command(
    "sh",
    "-c",
    'list=$0; find "$@" -xdev -maxdepth 3 -type f -size -2000k | sort | head -n 1200 >"$list"',
    list,
    ...there,
  );
  command("tar", "-cf", box.path("tree.tar"), "-T", list);
  command("tar", "-C", tree, "-xf", box.path("tree.tar"));
  expect(readFileSync(list, "utf8").split("\n").length).toBeGreaterThan(500);
  return tree;
}

/** Bytes of data on the disk. */
function dataBytes(top: string): number {
  command("sync", "--file-system", top);
  const text = command("btrfs", "filesystem", "df", "--raw", top);
  return Number(/Data, single: total=\d+, used=(\d+)/.exec(text)?.[1]);
}

function unpackedBytes(top: string, archive: string, folder: string): number {
  const before = dataBytes(top);
  command("mkdir", "-p", folder);
  command("tar", "-C", folder, "-xf", archive);
  return dataBytes(top) - before;
}

/** Below a folder, the paths of everything that is NOCOW. */
const nocowIn = (folder: string): string[] =>
  command("lsattr", "-aR", folder)
    .split("\n")
    .map((line) => /^\S*C\S* (.*)$/.exec(line)?.[1])
    .filter((path) => path !== undefined && !/\/\.\.?$/.test(path))
    .map((path) => String(path).slice(folder.length + 1));

test("a tree in containerd's snapshots takes what it takes in a plain zstd:1 directory", async () => {
  const box = sandbox();
  baseTree(box);
  const archive = box.path("tree.tar");
  const plain = box.disk(2 * GiB).device;
  command("mkfs.btrfs", "--quiet", plain);
  const plainTop = box.mount(plain, "plain", "-o", "compress=zstd:1,noatime");
  await up(box, "--device", box.disk(2 * GiB).device);
  const wanted = unpackedBytes(plainTop, archive, join(plainTop, "tree"));
  const taken = unpackedBytes(rawOf(box), archive, join(snapshotsOf(box), "1/fs"));
  expect(wanted).toBeGreaterThan(1024 * 1024);
  expect(wanted).toBeLessThan(0.8 * statSync(archive).size);
  expect(taken).toBeLessThan(1.05 * wanted);
});

test("a byte of a layer that the disk changed is found by reading it", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  const folder = join(snapshotsOf(box), "1/fs");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "libc");
  command("sh", "-c", 'head -c 1M /dev/urandom >"$0"', file);
  command("sync", "--file-system", file);
  const [, logical] =
    /^\s*0:\s+0\.\.\s*\d+:\s+(\d+)\.\./m.exec(command("filefrag", "-v", file)) ?? [];
  await down(box, "--device", disk.device);
  const mapped = command(
    "btrfs-map-logical",
    "--logical",
    String(Number(logical) * 4096),
    disk.device,
  );
  const [, physical] = /physical (\d+)/.exec(mapped) ?? [];
  flipByte(disk.image, Number(physical) + 1234);
  await up(box, "--device", disk.device);
  expect(tryCommand("cat", file).stderr).toContain("Input/output error");
  const { errors } = await status(box, ["--device", disk.device]);
  expect(errors?.corruption).toBeGreaterThan(0);
});

test("of all that a real containerd makes, its databases are NOCOW and nothing else", async () => {
  const box = sandbox();
  const { device } = box.disk(2 * GiB);
  await up(box, "--device", device);
  const root = containerdOf(box);
  const daemon = await Containerd.start(box, root);
  daemon.ctr("images", "import", imageArchive(box, baseTree(box), "docker.io/library/base:1"));
  daemon.ctr("snapshots", "--snapshotter", "native", "prepare", "one");
  daemon.ctr("snapshots", "--snapshotter", "overlayfs", "prepare", "two");
  expect(daemon.ctr("images", "list")).toContain("library/base:1");
  await daemon.stop();

  const databases = ["overlayfs", "native", "btrfs", "erofs"].map(
    (name) => `io.containerd.snapshotter.v1.${name}/metadata.db`,
  );
  const bolt = "io.containerd.metadata.v1.bolt";
  expect(nocowIn(root).sort()).toEqual([bolt, `${bolt}/meta.db`, ...databases].sort());
  for (const path of [`${bolt}/meta.db`, ...databases.slice(0, 2)]) {
    expect(`${path} ${statSync(join(root, path)).size > 0}`).toBe(`${path} true`);
  }
  expect(readdirSync(snapshotsOf(box)).length).toBeGreaterThanOrEqual(2);
  // It finds all of it again after a boot.
  await down(box, "--device", device);
  expect((await up(box, "--device", device)).notes).toBeEmpty();
  const again = await Containerd.start(box, root);
  expect(again.ctr("images", "list")).toContain("library/base:1");
  await again.stop();
});
