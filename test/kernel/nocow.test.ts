import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import {
  btrfsDisk,
  dockerOf,
  expectNocow,
  isNocow,
  layout,
  nocowPlaces,
  oldNocow,
  plainFolders,
  preparedDisk,
  rawOf,
  withWholeFilesystem,
} from "../kit/volume.ts";

const sandbox = useSandbox();

/** Where 0.5.0 made each of the ten directories. */
const oldOf: Readonly<Record<string, readonly string[]>> = {
  "@docker": oldNocow.slice(0, 6),
  "@containerd": oldNocow.slice(6),
  "@k3s": ["server/db", "agent/containerd/io.containerd.metadata.v1.bolt"],
  "@kubelet": [],
  "@cni": [],
};

const makers = {
  "the agent in Rust": () => oldNocow as readonly string[],
  "0.5.0": (name: string) => oldOf[name] ?? [],
};

/** A volume as an older program left it. */
function oldDisk(
  box: Sandbox,
  made: (name: string) => readonly string[],
  use: (top: string) => void,
): Disk {
  const disk = btrfsDisk(box);
  withWholeFilesystem(disk, box, (top) => {
    for (const { name } of layout) {
      command("btrfs", "--quiet", "subvolume", "create", join(top, name));
      for (const folder of made(name)) {
        command("mkdir", "-p", join(top, name, folder));
        command("chattr", "+C", join(top, name, folder));
      }
    }
    use(top);
  });
  return disk;
}

const hex = (letter: string): string => letter.repeat(64);

/** Layers and databases, as containerd and dockerd with a containerd of its own make them. */
function useIt(top: string): void {
  const containerd = join(top, "@containerd");
  const snapshotter = join(containerd, "io.containerd.snapshotter.v1.overlayfs");
  mkdirSync(join(snapshotter, "snapshots/1/fs/usr/lib"), { recursive: true });
  writeFileSync(join(snapshotter, "snapshots/1/fs/usr/lib/libc"), "old");
  writeFileSync(join(snapshotter, "metadata.db"), "db");
  writeFileSync(join(containerd, "io.containerd.metadata.v1.bolt/meta.db"), "db");
  const own = join(top, "@docker/containerd/daemon");
  mkdirSync(join(own, "io.containerd.metadata.v1.bolt"), { recursive: true });
  writeFileSync(join(own, "io.containerd.metadata.v1.bolt/meta.db"), "db");
  mkdirSync(join(own, "io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs"), {
    recursive: true,
  });
  mkdirSync(join(own, "io.containerd.content.v1.content/blobs/sha256"), { recursive: true });
  writeFileSync(join(own, `io.containerd.content.v1.content/blobs/sha256/${hex("a")}`), "blob");
  mkdirSync(join(top, "@docker/network/files"));
  writeFileSync(join(top, "@docker/network/files/local-kv.db"), "db");
  mkdirSync(join(top, "@docker/image/overlay2/layerdb/sha256", hex("b")), { recursive: true });
}

/** Where a daemon makes new layers and blobs. */
const growing = [
  "@containerd/io.containerd.snapshotter.v1.overlayfs",
  "@containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
  "@docker/containerd",
  "@docker/containerd/daemon",
  "@docker/containerd/daemon/io.containerd.snapshotter.v1.overlayfs",
  "@docker/containerd/daemon/io.containerd.snapshotter.v1.overlayfs/snapshots",
  "@docker/containerd/daemon/io.containerd.content.v1.content/blobs/sha256",
  "@docker/image/overlay2/layerdb/sha256",
  "@docker/network",
  "@docker/buildkit/content",
  "@docker/buildkit/executor",
];

const databases = [
  "@containerd/io.containerd.snapshotter.v1.overlayfs/metadata.db",
  "@containerd/io.containerd.metadata.v1.bolt/meta.db",
  "@docker/containerd/daemon/io.containerd.metadata.v1.bolt/meta.db",
  "@docker/network/files/local-kv.db",
];

test.each(Object.entries(makers))(
  "a volume of %s: what is unpacked from now on is right, what is old stays and is told",
  async (_, made) => {
    const box = sandbox();
    const { device } = oldDisk(box, made, useIt);
    const report = await up(box, "--device", device);
    expect(stepOutcomes(report)).toMatchObject({ filesystem: "kept", nocow: "changed" });
    const raw = rawOf(box);
    for (const place of nocowPlaces(box.root)) expectNocow(place);
    for (const path of growing) expect(`${path} ${isNocow(join(raw, path))}`).toBe(`${path} false`);
    for (const path of databases) expectNocow(join(raw, path));
    for (const { name, nocow } of layout) {
      const wanted: readonly string[] = nocow;
      for (const folder of oldNocow.filter((one) => !wanted.includes(one))) {
        const path = join(raw, name, folder);
        if (existsSync(path)) expect(`${path} ${isNocow(path)}`).toBe(`${path} false`);
      }
    }
    // What it was given before stays as it is, layers that a container may own above all.
    const layer = join(raw, "@containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1");
    expectNocow(layer);
    expect(readFileSync(join(layer, "fs/usr/lib/libc"), "utf8")).toBe("old");
    writeFileSync(join(raw, growing[1] ?? "", "new"), "new");
    expect(isNocow(join(raw, growing[1] ?? "", "new"))).toBeFalse();
    rmSync(join(raw, growing[1] ?? "", "new"));

    const told = /4 layers, blobs and files.*without checksums/;
    expect(report.notes).toEqual([expect.stringMatching(told)]);
    const seen = await status(box, ["--device", device]);
    expect(seen.notes).toEqual([expect.stringMatching(told)]);
    expect(seen.problems).toBeEmpty();
    expect((await up(box, "--device", device)).outcome).toBe("unchanged");
    await down(box, "--device", device);
    expect(stepOutcomes(await up(box, "--device", device))).toMatchObject({ nocow: "kept" });
  },
);

test("plan says what up will do to a volume of an older version", async () => {
  const box = sandbox();
  const { device } = oldDisk(box, makers["the agent in Rust"], useIt);
  box.mount(device, join(box.root, "run/arcbox/data"), "-o", "subvolid=5");
  const nocowOf = (report: Awaited<ReturnType<typeof plan>>) =>
    report.steps.find(({ step }) => step === "nocow")?.detail;
  const planned = nocowOf(await plan(box, "--device", device));
  expect(planned).toContain("the flag taken off");
  expect(nocowOf(await up(box, "--device", device))).toBe(planned ?? "");
});

test("an old volume with a hundred thousand names in it comes up as fast, and status answers", async () => {
  const box = sandbox();
  const { device } = oldDisk(box, makers["0.5.0"], (top) => {
    const folder = join(top, "@containerd/io.containerd.snapshotter.v1.overlayfs/snapshots");
    command("sh", "-c", 'mkdir "$0" && cd "$0" && seq 100000 | xargs touch', folder);
  });
  const report = await up(box, "--device", device);
  expect(report.notes.join()).toMatch(/at least \d+ layers/);
  expect(report.steps.find(({ step }) => step === "nocow")?.ms).toBeLessThan(2000);
  const start = performance.now();
  await status(box, ["--device", device]);
  expect(performance.now() - start).toBeLessThan(5000);
});

test("a flag that somebody sets on layers is a problem, and up takes it off", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const folder = join(rawOf(box), "@containerd/io.containerd.snapshotter.v1.overlayfs");
  command("chattr", "+C", folder, ...plainFolders(box.root));
  const { problems } = await status(box, ["--device", device]);
  expect(problems.map(({ code }) => code)).toEqual(["wrongly-nocow"]);
  const report = await up(box, "--device", device);
  expect(report.notes).toBeEmpty();
  for (const path of [folder, ...plainFolders(box.root)]) expect(isNocow(path)).toBeFalse();
  expect((await status(box, ["--device", device])).healthy).toBeTrue();
});

test("a flag that a container set inside its own layer is left alone", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const snapshotter = join(rawOf(box), "@containerd/io.containerd.snapshotter.v1.overlayfs");
  const own = join(snapshotter, "snapshots/3/fs/var/lib/mysql");
  mkdirSync(own, { recursive: true });
  command("chattr", "+C", own, snapshotter);
  await up(box, "--device", device);
  expect(isNocow(snapshotter)).toBeFalse();
  expectNocow(own);
});

test("a database that holds something already is left alone and told, an empty one gets the flag", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const full = join(dockerOf(box), "volumes/metadata.db");
  rmSync(full);
  writeFileSync(full, "data");
  const empty = join(rawOf(box), "@containerd/io.containerd.snapshotter.v1.native/metadata.db");
  rmSync(empty);
  writeFileSync(empty, "", { mode: 0o644 });
  const report = await up(box, "--device", device);
  expect(isNocow(full)).toBeFalse();
  expect(readFileSync(full, "utf8")).toBe("data");
  expectNocow(empty);
  expect(statSync(empty).mode & 0o777).toBe(0o644);
  expect(report.notes).toEqual([expect.stringMatching(/@docker\/volumes\/metadata\.db/)]);
  const seen = await status(box, ["--device", device]);
  expect(seen.problems).toBeEmpty();
  expect(seen.notes).toEqual(report.notes);
  // What the note says helps.
  command(
    "sh",
    "-e",
    "-c",
    'touch "$0.new"; chattr +C "$0.new"; cat "$0" >"$0.new"; mv "$0.new" "$0"',
    full,
  );
  expectNocow(full);
  expect((await up(box, "--device", device)).notes).toBeEmpty();
});

test.each<[string, (path: string) => void]>([
  ["a directory", (path) => mkdirSync(path)],
  ["a link", (path) => void command("ln", "-s", "/etc/passwd", path)],
  ["a pipe that nobody reads", (path) => void command("mkfifo", path)],
  ["a device", (path) => void command("mknod", path, "c", "1", "5")],
])(
  "%s in a database's place is left there, and the volume comes up with a note",
  async (_, make) => {
    const box = sandbox();
    const { device } = await preparedDisk(box);
    await up(box, "--device", device);
    const path = join(dockerOf(box), "volumes/metadata.db");
    rmSync(path);
    make(path);
    const report = await up(box, "--device", device);
    expect(report.notes).toEqual([expect.stringContaining("@docker/volumes/metadata.db")]);
    await status(box, ["--device", device]);
  },
);
