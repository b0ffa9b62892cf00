import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, fails, plan, up, volume } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { copySparse, flipByte, flush, GiB, MiB, nonZeroBlocks, zeroAt } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import {
  at,
  editSuperblock,
  MIRROR,
  PRIMARY,
  readSuperblock,
  superblockFacts,
} from "../kit/superblock.ts";
import { addressInSuperblock, damageBlock, hasBlock, rootAddress } from "../kit/trees.ts";
import {
  checkFilesystem,
  dockerOf,
  expectMounted,
  expectNocow,
  isNocow,
  markerIsThere,
  preparedDisk,
  rawOf,
  withWholeFilesystem,
  writeMarker,
} from "../kit/volume.ts";

/** Every hint of a filesystem that will not be mounted is done here as it is written, on its case. */

const sandbox = useSandbox();
/** Where the hints mount by hand; the tests have a mount namespace of their own. */
const BY_HAND = "/mnt";

/** Changes the image behind the back of its loop device. */
function damaged({ image, device }: Disk, damage: (image: string) => void): Disk {
  flush(device);
  damage(image);
  command("blockdev", "--flushbufs", device);
  return { image, device };
}

/** All copies of the superblock. */
const edited = (disk: Disk, edit: (block: Buffer) => void): Disk =>
  damaged(disk, (image) => {
    for (const place of [PRIMARY, MIRROR]) editSuperblock(image, place, edit);
  });

interface Refusal {
  readonly message: string;
  readonly hint: string;
}

/** `plan`, `status` and `up` refuse the disk in the same words, and nothing is mounted. */
async function refusal(box: Sandbox, { device }: Disk, code = "mount-failed"): Promise<Refusal> {
  const args = ["--device", device];
  const planned = await fails(volume(box, "plan", args), code);
  const { problems } = await status(box, args);
  const { message, hint } = await fails(volume(box, "up", args), code);
  expect(planned).toMatchObject({ message, hint });
  expect(problems).toMatchObject([{ code, level: "critical", message, hint }]);
  return { message, hint };
}

/** Does what stands between the words `from` and `to` of a hint. */
function obey(box: Sandbox, { hint }: Refusal, from: string, to: string): void {
  const start = hint.indexOf(from);
  const end = hint.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`no "${from}" to "${to}" in: ${hint}`);
  box.onEnd(() => tryCommand("umount", BY_HAND));
  command("bash", "-e", "-c", hint.slice(start, end));
}

async function comesUp(box: Sandbox, disk: Disk): Promise<void> {
  await up(box, "--device", disk.device);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  // What the kernel mends, it writes down with the next commit.
  writeFileSync(join(dockerOf(box), "new"), "new");
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
}

/** The last way that a hint names: it does not format by itself, and a person who says so twice gets an empty volume. */
async function startsAnew(box: Sandbox, disk: Disk, told: Refusal): Promise<void> {
  const args = ["--device", disk.device, "--format", "any"];
  const { hint } = await fails(volume(box, "up", args), "mount-failed", "unsupported");
  expect(hint).toBe(told.hint);
  expect(told.hint).toEndWith(", then volume up --format any");
  obey(box, told, "wipefs -a", ", then volume up --format any");
  await fails(volume(box, "up", args.slice(0, 2)), "wiped");
  await up(box, ...args);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeFalse();
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
}

test.each([
  ["all copies", [PRIMARY, MIRROR]],
  ["the primary", [PRIMARY]],
])("a wrong number of devices in %s refuses nothing: the kernel mends it", async (_, places) => {
  const box = sandbox();
  const disk = damaged(await preparedDisk(box), (image) => {
    for (const place of places) {
      editSuperblock(image, place, (block) => block.writeBigUInt64LE(3n, at.numDevices));
    }
  });
  const args = ["--device", disk.device];
  expect(await plan(box, ...args)).toMatchObject({ verdict: "btrfs", notes: [] });
  expect(await status(box, args)).toMatchObject({ verdict: "btrfs", problems: [{ code: "down" }] });
  await comesUp(box, disk);
});

test("a Btrfs that really has two devices is refused, whatever its superblock says", async () => {
  const box = sandbox();
  const [one, two] = [box.disk(GiB), box.disk(GiB)];
  command("mkfs.btrfs", "--quiet", "--data", "single", one.device, two.device);
  const args = ["--device", one.device];
  await fails(volume(box, "up", args), "multi-device");
  edited(one, (block) => block.writeBigUInt64LE(1n, at.numDevices));
  await fails(volume(box, "plan", args), "multi-device");
  edited(one, (block) => block.writeBigUInt64LE(7n, at.numDevices));
  await fails(volume(box, "up", args), "multi-device");
});

test("a Btrfs of two devices that somebody has mounted is refused as well, and stays as it is", async () => {
  const box = sandbox();
  const [one, two] = [box.disk(GiB), box.disk(GiB)];
  command("mkfs.btrfs", "--quiet", "--data", "single", one.device, two.device);
  const top = box.mount(one.device, "elsewhere");
  const args = ["--device", one.device];
  const { hint } = await fails(volume(box, "plan", args), "multi-device");
  const { report } = await fails(volume(box, "up", args), "multi-device");
  expect(report.steps.map(({ step }) => step)).not.toContain("mount");
  expect((await status(box, args)).problems).toContainEqual(
    expect.objectContaining({ code: "multi-device", hint }),
  );
  expect(readdirSync(top)).toBeEmpty();
});

test("a second device that was added to a volume: taking it away again helps, as the hint says", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const other = box.disk(GiB);
  command("btrfs", "device", "add", "-f", other.device, rawOf(box));
  const { hint } = await fails(volume(box, "up", ["--device", device]), "multi-device");
  const line = hint.slice(hint.indexOf("btrfs device remove"));
  command("bash", "-c", line.replace("OTHER", other.device).replace("FOLDER", rawOf(box)));
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
});

test("a filesystem whose superblock gives it too few bytes", async () => {
  const box = sandbox();
  const disk = edited(await preparedDisk(box), (block) =>
    block.writeBigUInt64LE(BigInt(GiB / 2), at.totalBytes),
  );
  const told = await refusal(box, disk);
  obey(box, told, "btrfs rescue", ", then volume up");
  await comesUp(box, disk);
});

test("a btrfstune that was stopped while it changed the UUID", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const before = superblockFacts(disk.image).uuid;
  const killed = tryCommand(
    "strace",
    "--trace=pwrite64",
    "--inject=pwrite64:signal=KILL:when=6",
    tool("btrfstune"),
    "-f",
    "-u",
    disk.device,
  );
  expect(killed.exitCode).not.toBe(0);
  flush(disk.device);
  const told = await refusal(box, disk);
  obey(box, told, "btrfstune", ";");
  flush(disk.device);
  expect(superblockFacts(disk.image).uuid).not.toBe(before);
  await comesUp(box, disk);
});

test("a btrfstune -m that was stopped: no tool of btrfs-progs 6.2 goes on, and the way to start anew helps", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const change = [tool("btrfstune"), "-f", "-m", disk.device];
  const kill = ["--trace=pwrite64", "--inject=pwrite64:signal=KILL:when=8"];
  expect(tryCommand("strace", ...kill, ...change).exitCode).not.toBe(0);
  flush(disk.device);
  expect(readSuperblock(disk.image).readBigUInt64LE(at.flags)).toBe(1n | (1n << 36n));
  const told = await refusal(box, disk);
  expect(told.message).toContain("metadata UUID");
  expect(told.hint).toContain("btrfstune -f -m");
  if (/v6\.2\b/.test(command("btrfs", "--version"))) {
    expect(tryCommand("btrfstune", ...change.slice(1)).exitCode).not.toBe(0);
    expect(told.hint).toContain("of btrfs-progs 6.14 or later");
  }
  await startsAnew(box, disk, told);
});

test.each([
  [38n, "btrfstune --convert-to-block-group-tree"],
  [39n, "btrfstune --csum"],
  [40n, "btrfstune --csum"],
])(
  "super flag %s, forged, for btrfs-progs 6.2 cannot set it: the words, and the way to start anew",
  async (bit, how) => {
    const box = sandbox();
    const disk = edited(await preparedDisk(box), (block) =>
      block.writeBigUInt64LE(1n | (1n << bit), at.flags),
    );
    const told = await refusal(box, disk);
    expect(told.message).toContain("btrfstune was interrupted");
    expect(told.hint).toContain(how);
    expect(told.hint).not.toContain("rescue");
    await startsAnew(box, disk, told);
  },
);

test("sectors that this kernel does not mount: the sizes that it does, and the way to start anew", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  command("mkfs.btrfs", "--quiet", "--sectorsize", "16K", disk.device);
  flush(disk.device);
  const told = await refusal(box, disk, "unsupported");
  expect(told.message).toMatch(/16384 bytes.*4096/);
  expect(told.hint).toContain("a kernel with pages of 16384 bytes");
  expect(told.hint).not.toContain("rescue");
  await startsAnew(box, disk, told);
});

/** A volume in the midst of a `btrfs replace`; it is so slow that it outlasts the test. */
async function replacing(box: Sandbox): Promise<readonly [old: Disk, fresh: Disk]> {
  const [old, fresh] = [box.disk(GiB), box.disk(GiB)];
  await up(box, "--device", old.device);
  writeMarker(box);
  writeFileSync(join(dockerOf(box), "much"), randomBytes(200 * MiB));
  const top = rawOf(box);
  command("sync", "--file-system", top);
  const uuid = command("findmnt", "-no", "UUID", top).trim();
  writeFileSync(`/sys/fs/btrfs/${uuid}/devinfo/1/scrub_speed_max`, "8m");
  command("btrfs", "replace", "start", "1", fresh.device, top);
  box.onEnd(() => tryCommand("btrfs", "replace", "cancel", top));
  // A commit writes down that it has begun.
  writeFileSync(join(dockerOf(box), "later"), "later");
  command("sync", "--file-system", top);
  return [old, fresh];
}

/** The two disks as they would be if the power failed now, and neither is mounted. */
async function cutShort(box: Sandbox): Promise<readonly [old: Disk, fresh: Disk]> {
  const disks = await replacing(box);
  const images = disks.map(({ image }, i) => {
    const copy = box.path(`cut${i}.img`);
    copySparse(image, copy);
    return copy;
  });
  command("btrfs", "replace", "cancel", rawOf(box));
  // The kernel has it in use for a moment longer.
  for (let left = 100; ; left -= 1) {
    const run = await volume(box, "down", ["--device", disks[0].device]);
    if (run.exitCode === 0) break;
    if (left === 0) throw new Error(`it stays up: ${run.stdout}`);
  }
  const [old, fresh] = images.map((image) => ({ image, device: box.attach(image) }));
  if (old === undefined || fresh === undefined) throw new Error("two disks");
  return [old, fresh];
}

test("a btrfs replace that is running is told by name, and the volume comes up", async () => {
  const box = sandbox();
  const [old] = await replacing(box);
  const args = ["--device", old.device];
  for (const report of [await plan(box, ...args), await up(box, ...args)]) {
    expect(report.outcome).toBe("unchanged");
    expect(report.notes.join()).toMatch(/btrfs replace/);
  }
  const answer = await status(box, args);
  expect(answer).toMatchObject({ state: "up", errors: { write: 0 } });
  expect(answer.notes.join()).toMatch(/btrfs replace/);
  expect(answer.problems).toBeEmpty();
});

test("a btrfs replace that was cut short, and the new disk is gone", async () => {
  const box = sandbox();
  const [old, fresh] = await cutShort(box);
  box.detach(fresh.device);
  const told = await refusal(box, old);
  expect(told.message).toContain("btrfs replace");
  obey(box, told, "mount -o degraded", ", then volume up");
  await comesUp(box, old);
});

test("the new disk of a btrfs replace that was cut short is not the volume", async () => {
  const box = sandbox();
  const [, fresh] = await cutShort(box);
  const { message, hint } = await refusal(box, fresh);
  expect(message).toContain("btrfs replace");
  expect(hint).toContain("old disk");
});

/** A copy of the disk at the moment after a file was synced: its log has it, and no commit. */
async function withLog(box: Sandbox): Promise<Disk> {
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  writeMarker(box);
  command("sync", "--file-system", dockerOf(box));
  writeFileSync(join(dockerOf(box), "synced"), "in the log", { flush: true });
  const image = box.path("crashed.img");
  copySparse(disk.image, image);
  await down(box, "--device", disk.device);
  return { image, device: box.attach(image) };
}

test("a log that cannot be read", async () => {
  const box = sandbox();
  const disk = damaged(await withLog(box), (image) => {
    damageBlock(image, addressInSuperblock(image, "log_root"));
  });
  const told = await refusal(box, disk);
  expect(told.message).toContain("log");
  expect(told.hint).not.toContain("usebackuproot");
  obey(box, told, "btrfs rescue", ", then volume up");
  await comesUp(box, disk);
});

test("a log of which a deeper block cannot be read", async () => {
  const box = sandbox();
  const disk = damaged(await withLog(box), (image) => {
    const log = command("btrfs", "inspect-internal", "dump-tree", image);
    const address =
      /log root tree[\s\S]*?\bROOT_ITEM \d+\)[\s\S]*?bytenr (\d+)/.exec(log)?.[1] ?? "";
    damageBlock(image, BigInt(address));
  });
  const told = await refusal(box, disk);
  obey(box, told, "btrfs rescue", ", then volume up");
  await comesUp(box, disk);
});

/** A volume with some commits behind it: each keeps the tree of the one before. */
async function withHistory(box: Sandbox): Promise<Disk> {
  const disk = await preparedDisk(box);
  withWholeFilesystem(disk, box, (top) => {
    for (const name of ["one", "two", "three"]) {
      writeFileSync(join(top, "@docker", name), name);
      command("sync", "--file-system", top);
    }
  });
  return disk;
}

test("a damaged root of the trees, of which an older one is intact", async () => {
  const box = sandbox();
  const disk = damaged(await withHistory(box), (image) => {
    damageBlock(image, addressInSuperblock(image, "root"));
  });
  const told = await refusal(box, disk);
  // Without a change the kernel writes the older tree down on most days, and not on all.
  expect(told.hint).toContain(`touch ${BY_HAND}`);
  obey(box, told, "mount -o rescue=usebackuproot", ", then volume up");
  await comesUp(box, disk);
});

test("a root of the trees of which no older one is intact either: an empty volume can be made", async () => {
  const box = sandbox();
  const disk = damaged(await withHistory(box), (image) => {
    const roots = command("btrfs", "inspect-internal", "dump-super", "--full", image);
    const addresses = [...roots.matchAll(/backup_tree_root:\s+(\d+)/g)].map(([, text]) => text);
    for (const address of new Set(addresses)) {
      // The oldest may have been written over.
      if (address !== undefined && hasBlock(image, BigInt(address))) {
        damageBlock(image, BigInt(address));
      }
    }
  });
  const told = await refusal(box, disk);
  expect(told.message).toContain("the tree that names all others");
  expect(told.hint).not.toMatch(/rescue|restore \//);
  expect(tryCommand("mount", "-o", "ro,rescue=all", disk.device, BY_HAND).exitCode).not.toBe(0);
  await startsAnew(box, disk, told);
});

const precious = join(BY_HAND, "@docker", "marker");

test("a damaged extent tree: all can be copied off, and an older one makes the volume come up", async () => {
  const box = sandbox();
  const disk = damaged(await withHistory(box), (image) => {
    damageBlock(image, rootAddress(image, "EXTENT_TREE"));
  });
  const told = await refusal(box, disk);
  expect(told.message).toContain("extent");
  obey(box, told, "mount -o ro,rescue=all", ";");
  expect(existsSync(precious)).toBeTrue();
  expect(existsSync(join(BY_HAND, "@docker", "three"))).toBeTrue();
  command("umount", BY_HAND);
  obey(box, told, "mount -o rescue=usebackuproot", ", then volume up");
  await comesUp(box, disk);
});

test.each(["CSUM_TREE", "UUID_TREE", "FREE_SPACE_TREE", "DEV_TREE", "DATA_RELOC_TREE"])(
  "a damaged %s: the data can be copied off, and nothing that would not help is said",
  async (tree) => {
    const box = sandbox();
    const disk = damaged(await withHistory(box), (image) => {
      damageBlock(image, rootAddress(image, tree));
    });
    const told = await refusal(box, disk);
    expect(told.hint).not.toContain("usebackuproot");
    obey(box, told, "mount -o ro,rescue=all", ";");
    expect(existsSync(precious)).toBeTrue();
    command("umount", BY_HAND);
    await startsAnew(box, disk, told);
  },
);

test.each([
  ["the chunk tree", (image: string) => addressInSuperblock(image, "chunk_root")],
  ["the top-level subvolume", (image: string) => rootAddress(image, "FS_TREE")],
])("where %s is damaged no hint is given that does not help", async (_, address) => {
  const box = sandbox();
  const disk = damaged(await withHistory(box), (image) => damageBlock(image, address(image)));
  const told = await refusal(box, disk);
  expect(told.hint).toMatch(/backup/);
  expect(told.hint).not.toMatch(/rescue|restore \//);
  await startsAnew(box, disk, told);
});

test("where no copy of the superblock is intact the tools find nothing, and the hint says so", async () => {
  const box = sandbox();
  const disk = damaged(await preparedDisk(box), (image) => {
    for (const place of [PRIMARY, MIRROR]) flipByte(image, place + at.label);
  });
  const { hint } = await refusal(box, disk, "hopeless");
  expect(hint).toMatch(/restore a backup: .* find nothing/);
  const out = box.folder("out");
  for (const words of [
    ["rescue", "super-recover", "-y", disk.device],
    ["rescue", "chunk-recover", "-y", disk.device],
    ["restore", "--super", "1", disk.device, out],
    ["check", "--super", "1", disk.device],
  ]) {
    expect(tryCommand("btrfs", ...words).exitCode).not.toBe(0);
  }
  await up(box, "--device", disk.device, "--format", "any");
  expectMounted(box.root);
});

test.each([
  ["wiped", wipe],
  ["ambiguous", (image: string) => zeroAt(image, PRIMARY, 4096)],
])("a wrong number of devices in a %s disk keeps nobody from reviving it", async (code, harm) => {
  const box = sandbox();
  const disk = damaged(await preparedDisk(box), (image) => {
    for (const place of [PRIMARY, MIRROR]) {
      editSuperblock(image, place, (block) => block.writeBigUInt64LE(3n, at.numDevices));
    }
    harm(image);
  });
  const { hint } = await refusal(box, disk, code);
  expect(hint).toContain("--repair always");
  const args = ["--device", disk.device, "--repair", "always"];
  expect(await plan(box, ...args)).toMatchObject({ verdict: code, outcome: "changed" });
  await up(box, ...args);
  expectMounted(box.root);
  await down(box, "--device", disk.device);
  await comesUp(box, disk);
});

/** As wipefs does. */
function wipe(image: string): void {
  zeroAt(image, PRIMARY + at.magic, 8);
}

test.each([
  ["wiped", wipe],
  ["ambiguous", (image: string) => zeroAt(image, PRIMARY, 4096)],
])("a %s disk that really is one of two is not revived", async (_, harm) => {
  const box = sandbox();
  const [one, two] = [box.disk(GiB), box.disk(GiB)];
  command("mkfs.btrfs", "--quiet", "--data", "single", one.device, two.device);
  damaged(one, harm);
  await fails(volume(box, "up", ["--device", one.device, "--repair", "always"]), "multi-device");
});

/** What somebody may have said of a directory or an empty file; no database in it can be NOCOW then. */
const choices: readonly (readonly [string, (path: string) => void])[] = [
  ["chattr +c", (path) => command("chattr", "+c", path)],
  ["chattr +m", (path) => command("chattr", "+m", path)],
  ["btrfs property set", (path) => command("btrfs", "property", "set", path, "compression", "lzo")],
];

test.each(choices)("compression that was chosen for a database with %s", async (_, choose) => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const args = ["--device", device];
  await up(box, ...args);
  const folder = join(dockerOf(box), "network/files");
  const file = join(dockerOf(box), "volumes/metadata.db");
  command("chattr", "-C", folder);
  rmSync(file);
  writeFileSync(file, "");
  for (const path of [folder, file]) choose(path);

  const { notes, outcome } = await up(box, ...args);
  expect(outcome).toBe("unchanged");
  expect((await plan(box, ...args)).notes).toEqual(notes);
  const { problems } = await status(box, args);
  expect(problems).toMatchObject([{ code: "not-nocow", level: "warning" }]);
  const [problem] = problems;
  if (problem === undefined) throw new Error("no problem");
  expect(notes).toEqual([`${problem.message}; ${problem.hint}`]);
  obey(box, problem, "chattr", ", then volume up");
  expect((await up(box, ...args)).outcome).toBe("changed");
  for (const path of [folder, file]) expectNocow(path);
  expect((await status(box, args)).problems).toBeEmpty();
});

test.each(choices)(
  "databases that are made in what somebody chose compression for (%s) are NOCOW all the same",
  async (_, choose) => {
    const box = sandbox();
    const disk = await preparedDisk(box);
    withWholeFilesystem(disk, box, (top) => {
      const docker = join(top, "@docker");
      for (const name of ["network", "volumes"]) rmSync(join(docker, name), { recursive: true });
      choose(docker);
    });
    const { notes } = await up(box, "--device", disk.device);
    expect(notes).toBeEmpty();
    for (const path of ["network/files", "volumes/metadata.db"]) {
      expectNocow(join(dockerOf(box), path));
    }
    expect(isNocow(join(dockerOf(box), "network"))).toBeFalse();
  },
);

test.each([
  ["compress=zstd:1", "nodatacow"],
  ["nodatacow", "compress-force=lzo"],
])("a layout that wants %s and %s: each of the two is a way out", async (one, other) => {
  const options = [one, other];
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const path = box.path("layout.json");
  const args = ["--device", device, "--layout", path];
  const want = (...some: readonly string[]): void => {
    const subvolumes = [{ name: "@docker", path: "/var/lib/docker" }];
    writeFileSync(path, JSON.stringify({ options: some, subvolumes }));
  };
  want(...options);
  for (const verb of ["plan", "up"] as const) {
    const { message } = await fails(volume(box, verb, args), "layout");
    expect(message).toContain("exclude each other");
    expect(message).toContain("leave out one of them");
  }
  flush(device);
  expect(nonZeroBlocks(image)).toBeEmpty();
  for (const option of options) {
    want(option);
    await up(box, ...args);
    const found = await status(box, args);
    expect(found).toMatchObject({ problems: [], options: expect.stringContaining(option) });
    await down(box, ...args);
  }
});
