import { expect } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "./agent.ts";
import { command } from "./command.ts";
import { flush, GiB } from "./image.ts";
import { type Mount, mountsUnder } from "./mountinfo.ts";
import type { Disk, Sandbox } from "./sandbox.ts";

const SNAPSHOTTERS = ["overlayfs", "native", "btrfs", "erofs"];
const snapshotterFiles = (root: string, names = SNAPSHOTTERS): string[] =>
  names.map((name) => `${root}io.containerd.snapshotter.v1.${name}/metadata.db`);

/** Section 2 of the contract: NOCOW directories, NOCOW files, and directories made beforehand that are not. */
export const layout = [
  {
    name: "@docker",
    path: "/var/lib/docker",
    nocow: ["buildkit", "network/files", "containerd/daemon/io.containerd.metadata.v1.bolt"],
    files: ["volumes/metadata.db", ...snapshotterFiles("containerd/daemon/")],
    plain: ["buildkit/content", "buildkit/executor"],
  },
  {
    name: "@containerd",
    path: "/var/lib/containerd",
    nocow: ["io.containerd.metadata.v1.bolt"],
    files: snapshotterFiles(""),
    plain: [],
  },
  {
    name: "@k3s",
    path: "/var/lib/rancher/k3s",
    nocow: ["server/db", "agent/containerd/io.containerd.metadata.v1.bolt"],
    files: snapshotterFiles("agent/containerd/", ["overlayfs"]),
    plain: ["server/db/snapshots"],
  },
  { name: "@kubelet", path: "/var/lib/kubelet", nocow: [], files: [], plain: [] },
  { name: "@cni", path: "/var/lib/cni", nocow: [], files: [], plain: [] },
] as const;

/** What the agent in Rust made and flagged in every subvolume; 0.5.0 did so where its daemon looks. */
export const oldNocow = [
  "containerd",
  "network",
  "builder",
  "buildkit",
  "image",
  "trust",
  "io.containerd.metadata.v1.bolt",
  "io.containerd.snapshotter.v1.overlayfs",
] as const;

const RAW = "/run/arcbox/data";

export const dockerOf = (box: Sandbox): string => join(box.root, "var/lib/docker");
export const rawOf = (box: Sandbox): string => join(box.root, RAW);

export const nocowFolders = (root: string): string[] =>
  layout.flatMap(({ path, nocow }) => nocow.map((folder) => join(root, path, folder)));
export const nocowFiles = (root: string): string[] =>
  layout.flatMap(({ path, files }) => files.map((file) => join(root, path, file)));
/** Both of them. */
export const nocowPlaces = (root: string): string[] => [...nocowFolders(root), ...nocowFiles(root)];
/** Directories inside NOCOW ones that are none. */
export const plainFolders = (root: string): string[] =>
  layout.flatMap(({ path, plain }) => plain.map((folder) => join(root, path, folder)));

/** The mounts of ours, as `root path`. */
export const ourMounts = (box: Sandbox, root = box.root): string[] =>
  mountsUnder(root).map((mount) => `${mount.root} ${mount.path}`);

export const wantedMounts = (root: string): string[] => [
  `/ ${join(root, RAW)}`,
  ...layout.map(({ name, path }) => `/${name} ${join(root, path)}`),
];

/** All six mounts are there, once each, with the options that the contract names. */
export function expectMounted(root: string, found = mountsUnder(root)): readonly Mount[] {
  expect(found.map((mount) => `${mount.root} ${mount.path}`).sort()).toEqual(
    wantedMounts(root).sort(),
  );
  for (const mount of found) {
    expect(mount.type).toBe("btrfs");
    expect(mount.options).toContain("noatime");
    expect(mount.options).toContain("rw");
    expect(mount.superOptions).toContain("rw");
  }
  return found;
}

export function isNocow(path: string): boolean {
  const [flags = ""] = command("lsattr", "-d", path).split(" ");
  return flags.includes("C");
}

export const expectNocow = (path: string): void =>
  expect(`${path} ${isNocow(path)}`).toBe(`${path} true`);

export const permissions = (path: string): string => (statSync(path).mode & 0o7777).toString(8);

export const filesystemGone = (uuid: string): boolean => !existsSync(`/sys/fs/btrfs/${uuid}`);

export function checkFilesystem({ device }: Disk): void {
  flush(device);
  command("btrfs", "check", "--readonly", device);
}

const MARKER = "precious\n";

export const writeMarker = (box: Sandbox): void =>
  writeFileSync(join(dockerOf(box), "marker"), MARKER);

export const markerIsThere = (box: Sandbox): boolean => {
  const path = join(dockerOf(box), "marker");
  return existsSync(path) && readFileSync(path, "utf8") === MARKER;
};

/** A disk that the agent prepared and that holds a file; nothing is mounted. */
export async function preparedDisk(box: Sandbox, sizeBytes = GiB): Promise<Disk> {
  const disk = box.disk(sizeBytes);
  await prepare(box, disk);
  return disk;
}

export async function prepare(box: Sandbox, { device }: Disk): Promise<void> {
  await up(box, "--device", device);
  writeMarker(box);
  await down(box, "--device", device);
  flush(device);
}

/** A disk with a plain Btrfs that the agent never saw. */
export function btrfsDisk(box: Sandbox, sizeBytes = GiB, ...options: readonly string[]): Disk {
  const disk = box.disk(sizeBytes);
  command("mkfs.btrfs", "--quiet", ...options, disk.device);
  flush(disk.device);
  return disk;
}

/** Mounts the whole filesystem beside the agent, for the time of `work`. */
export function withWholeFilesystem(
  { device }: Disk,
  box: Sandbox,
  work: (top: string) => void,
): void {
  const top = box.mount(device, "whole");
  work(top);
  box.umount(top);
}

/** Bytes that the mounted filesystem says it spans. */
export function filesystemBytes(path: string): number {
  const [bytes = ""] = command("stat", "--file-system", "--format=%b %S", path).trim().split("\n");
  const [blocks = 0, blockBytes = 0] = bytes.split(" ").map(Number);
  return blocks * blockBytes;
}
