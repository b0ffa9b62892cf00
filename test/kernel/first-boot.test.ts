import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agent, down, start, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { GiB, MiB } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { stepOutcomes } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { traced } from "../kit/trace.ts";
import {
  checkFilesystem,
  dockerOf,
  expectMounted,
  expectNocow,
  filesystemGone,
  isNocow,
  layout,
  nocowFiles,
  nocowFolders,
  nocowPlaces,
  oldNocow,
  ourMounts,
  permissions,
  plainFolders,
  rawOf,
} from "../kit/volume.ts";

const sandbox = useSandbox();

test("a blank disk becomes a volume with its five subvolumes mounted", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const report = await up(box, "--device", device);
  expect(report).toMatchObject({ outcome: "changed", verdict: "blank", device, bytes: GiB });
  expect(stepOutcomes(report)).toEqual({
    device: "kept",
    filesystem: "changed",
    mount: "changed",
    capacity: "kept",
    subvolumes: "changed",
    mountpoints: "changed",
    nocow: "changed",
  });
  const { uuid, label } = superblockFacts(image);
  expect(report.uuid).toBe(uuid);
  expect(label).toBe("arcbox-data");
  expect(report.mounts.filter(({ subvolume }) => subvolume.startsWith("@"))).toEqual(
    layout.map(({ name, path }) => ({ subvolume: name, path: join(box.root, path) })),
  );
  expectMounted(box.root);
});

test("the kernel applies zstd:1, asynchronous discard and noatime, on the raw mount too", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  const found = mountsUnder(box.root);
  expect(found).toHaveLength(6);
  for (const { options, superOptions } of found) {
    expect(options).toContain("noatime");
    expect(superOptions).toContain("compress=zstd:1");
    expect(superOptions).toContain("discard=async");
    expect(superOptions).toContain("space_cache=v2");
  }
});

test("what is written through /var/lib/docker is compressed", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  const file = join(dockerOf(box), "zeros");
  // Not writeFileSync: Bun preallocates, and preallocated extents are never compressed.
  command("sh", "-c", 'yes compressible | head --bytes=4M > "$0"', file);
  command("sync", "--file-system", file);
  expect(command("filefrag", "-v", file)).toContain("encoded");
});

test("all databases are NOCOW and belong to root alone, and nothing else is", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  expect(nocowFolders(box.root)).toHaveLength(6);
  expect(nocowFiles(box.root)).toHaveLength(10);
  for (const folder of nocowFolders(box.root)) {
    expectNocow(folder);
    expect(`${permissions(folder)} ${folder}`).toBe(`700 ${folder}`);
  }
  for (const file of nocowFiles(box.root)) {
    expectNocow(file);
    const { size, mode } = statSync(file);
    expect(`${size} ${(mode & 0o7777).toString(8)} ${file}`).toBe(`0 600 ${file}`);
  }
  const all = new Bun.Glob("**").scanSync({ cwd: rawOf(box), onlyFiles: false, absolute: true });
  const flagged = [...all].filter((path) => isNocow(path));
  expect(flagged).toHaveLength(16);
  expect(plainFolders(box.root).map(permissions)).toEqual(["700", "700", "700"]);
});

test.each(["000", "777"])("umask %s changes nothing about the modes", async (umask) => {
  const box = sandbox();
  const image = box.path("disk.img");
  const args = ["volume", "up", "--image", image, "--size", "1G", "--root", box.root];
  const { exitCode, stderr } = await agent(args, {
    prefix: ["sh", "-c", `umask ${umask} && exec "$@"`, "sh"],
  });
  expect(`${exitCode} ${stderr}`).toBe("0 ");
  expect(permissions(image)).toBe("600");
  for (const folder of nocowFolders(box.root)) expect(permissions(folder)).toBe("700");
  for (const file of nocowFiles(box.root)) expect(permissions(file)).toBe("600");
});

test("only the layout's directories are made: no NOCOW directory stands where nobody looks", async () => {
  const box = sandbox();
  await up(box, "--device", box.disk(GiB).device);
  for (const stray of [
    "var/lib/kubelet/containerd",
    "var/lib/cni/network",
    "var/lib/docker/server",
  ]) {
    expect(existsSync(join(box.root, stray))).toBeFalse();
  }
});

test("the filesystem is sound after down", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const { uuid } = await up(box, "--device", disk.device);
  await down(box, "--device", disk.device);
  expect(filesystemGone(uuid ?? "")).toBeTrue();
  checkFilesystem(disk);
});

test("a missing --image is made sparse, 0600, and attached to one loop device", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  const report = await up(box, "--image", image, "--size", "8G");
  expect(report).toMatchObject({ outcome: "changed", verdict: "blank", bytes: 8 * GiB });
  const { size, blocks } = statSync(image);
  expect(size).toBe(8 * GiB);
  expect(blocks * 512).toBeLessThan(64 * MiB);
  expect(permissions(image)).toBe("600");
  expect([...attachedLoops(box.dir)]).toEqual([[report.device ?? "", image]]);
  expectMounted(box.root);
});

test("without --size an image is 64 GiB", async () => {
  const box = sandbox();
  const report = await up(box, "--image", box.path("disk.img"));
  expect(report.bytes).toBe(64 * GiB);
});

test("mkfs.btrfs is the only program started", async () => {
  const box = sandbox();
  const trace = traced(box, "execve");
  const run = await volume(box, "up", ["--image", box.path("disk.img"), "--size", "1G"], {
    prefix: trace.prefix,
  });
  expect(run.exitCode).toBe(0);
  const started = trace
    .calls()
    .filter((line) => line.endsWith(" = 0"))
    .map((line) => /^execve\("([^"]+)"/.exec(line)?.[1] ?? line);
  expect(started).toHaveLength(2);
  expect(started[1]).toEndWith("/mkfs.btrfs");
});

test("a process that has no file open is not looked into, where the kernel says how many there are", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const shell = "exec sleep 1000 <&- 2>&- >&-";
  const sleeper = Bun.spawn(["bash", "-c", shell], { stdout: "pipe", stderr: "ignore" });
  try {
    // It ends when nobody has the pipe any more.
    await sleeper.stdout.text();
    const trace = traced(box, "openat,statx");
    expect((await volume(box, "up", ["--device", device], { prefix: trace.prefix })).exitCode).toBe(
      0,
    );
    const asked = trace.calls().filter((line) => line.includes(`"/proc/${sleeper.pid}/fd"`));
    // Since Linux 6.2.
    const isCounted = statSync("/proc/self/fd").size > 0;
    expect(new Set(asked.map((line) => line.slice(0, line.indexOf("("))))).toEqual(
      new Set([isCounted ? "statx" : "openat"]),
    );
  } finally {
    sleeper.kill();
    await sleeper.exited;
  }
});

test("a volume that the Rust agent prepared is taken over: same names, files as they are", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  command("mkfs.btrfs", "--quiet", "--label", "arcbox-data", disk.device);
  const top = box.mount(disk.device, "rust");
  const folders = layout.flatMap(({ name }) => oldNocow.map((folder) => join(top, name, folder)));
  for (const { name } of layout) command("btrfs", "subvolume", "create", join(top, name));
  command("mkdir", "-p", ...folders);
  command("chattr", "+C", ...folders);
  writeFileSync(join(top, "@docker/image/kept"), "old");
  box.umount(top);
  const report = await up(box, "--device", disk.device);
  expect(stepOutcomes(report)).toMatchObject({ filesystem: "kept", subvolumes: "kept" });
  expect(readFileSync(join(dockerOf(box), "image/kept"), "utf8")).toBe("old");
  const cni = join(box.root, "var/lib/cni");
  expect(existsSync(join(cni, "trust"))).toBeTrue();
  for (const place of nocowPlaces(box.root)) expectNocow(place);
});

test("a file that is copy-on-write in a NOCOW directory is reported", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  command("mkfs.btrfs", "--quiet", disk.device);
  const top = box.mount(disk.device, "before");
  command("btrfs", "subvolume", "create", join(top, "@docker"));
  command("mkdir", "-p", join(top, "@docker/network/files"));
  writeFileSync(join(top, "@docker/network/files/local-kv.db"), "db");
  box.umount(top);
  const report = await up(box, "--device", disk.device);
  expectNocow(join(dockerOf(box), "network/files"));
  const said = [...report.notes, ...report.steps.map(({ detail }) => detail)].join("\n");
  expect(said).toMatch(/network[^\n]*copy-on-write/i);
});

test("a person reads text, without escape codes when it is no terminal", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const { done } = start(["volume", "up", "--device", device, "--root", box.root]);
  const { exitCode, stdout, stderr } = await done;
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(stdout).toContain(device);
  expect(stdout).toContain("formatted");
  expect(stdout).not.toContain("\u001b");
  expect(stdout.trimStart()).not.toStartWith("{");
  expect(ourMounts(box)).toHaveLength(6);
});
