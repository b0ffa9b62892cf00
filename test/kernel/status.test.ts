import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { agent, down, start, up } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { flipByte, flush, GiB, MiB, readAt, resize, writeAt, zeroAt } from "../kit/image.ts";
import { lockExclusively } from "../kit/libc.ts";
import { replaceMkfs } from "../kit/mkfs.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status, statusLines } from "../kit/status.ts";
import { at, MIRROR, PRIMARY, superblockFacts } from "../kit/superblock.ts";
import { onTerminal, withoutEscapes } from "../kit/terminal.ts";
import { unreadableDisk } from "../kit/unreadable.ts";
import {
  btrfsDisk,
  dockerOf,
  layout,
  preparedDisk,
  rawOf,
  withWholeFilesystem,
} from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

async function mountedVolume(box: Sandbox, sizeBytes = GiB): Promise<Disk> {
  const disk = box.disk(sizeBytes);
  await up(box, "--device", disk.device);
  return disk;
}

/** Edits the image behind the back of the loop device. */
function damage({ image, device }: Disk, edit: (image: string) => void): Disk {
  edit(image);
  command("blockdev", "--flushbufs", device);
  return { image, device };
}

const edited =
  (edit: (image: string) => void) =>
  async (box: Sandbox): Promise<Disk> =>
    damage(await preparedDisk(box), edit);

const fresh =
  (...argv: readonly [string, ...string[]]) =>
  async (box: Sandbox): Promise<Disk> => {
    const disk = box.disk(GiB);
    const [name, ...args] = argv;
    command(name, ...args, disk.device);
    flush(disk.device);
    return disk;
  };

/** A disk, what `status` finds on it, and what it tells a person to do. */
interface AtRest {
  readonly what: string;
  readonly make: (box: Sandbox) => Promise<Disk>;
  readonly verdict: string;
  readonly says: RegExp;
}

const atRest: readonly AtRest[] = [
  {
    what: "a blank disk",
    make: (box) => Promise.resolve(box.disk(GiB)),
    verdict: "blank",
    says: /volume up/,
  },
  {
    what: "a disk prepared before",
    make: (box) => preparedDisk(box),
    verdict: "btrfs",
    says: /down/,
  },
  {
    what: "an ext4",
    make: fresh("mkfs.ext4", "-q", "-F"),
    verdict: "foreign",
    says: /choose another/,
  },
  {
    what: "a volume with a damaged primary superblock",
    make: edited((image) => flipByte(image, PRIMARY + at.label)),
    verdict: "damaged",
    says: /volume up repairs/,
  },
  {
    what: "a wiped volume",
    make: edited((image) => zeroAt(image, PRIMARY + at.magic, 8)),
    verdict: "wiped",
    says: /--repair always/,
  },
  {
    what: "a volume overwritten at its begin",
    make: edited((image) => writeAt(image, PRIMARY, randomBytes(4096))),
    verdict: "ambiguous",
    says: /--repair always/,
  },
  {
    what: "a volume with all copies damaged",
    make: edited((image) => {
      flipByte(image, PRIMARY + at.label);
      flipByte(image, MIRROR + at.label);
    }),
    verdict: "hopeless",
    says: /rescue/,
  },
  {
    what: "a disk with something unknown",
    make: (box) =>
      Promise.resolve(
        damage(box.disk(GiB), (image) => writeAt(image, 300 * 1024, randomBytes(512))),
      ),
    verdict: "unknown",
    says: /choose another/,
  },
  {
    what: "a disk that was made smaller",
    make: async (box) => {
      const disk = await preparedDisk(box);
      box.detach(disk.device);
      resize(disk.image, GiB / 2);
      return { image: disk.image, device: box.attach(disk.image) };
    },
    verdict: "shrunk",
    says: /old size/,
  },
  {
    what: "a disk that cannot be read",
    make: (box) => Promise.resolve(unreadableDisk(box, GiB, [PRIMARY])),
    verdict: "unreadable",
    says: /cannot be read/,
  },
];

test.each(atRest.map((row) => [row.what, row] as const))(
  "of %s says what it is and what to do, and changes nothing",
  async (_, { make, verdict, says }) => {
    const box = sandbox();
    const { device } = await make(box);
    const before = observe(box);
    const answer = await status(box, ["--device", device]);
    expect(answer).toMatchObject({
      state: "down",
      device,
      verdict,
      profiles: [],
      options: null,
      readOnly: null,
      forcedReadOnly: null,
      errors: null,
    });
    expect(answer.bytes).toMatchObject({ device: expect.any(Number), writable: null });
    expect(answer.subvolumes.map(({ name, id, mounted }) => ({ name, id, mounted }))).toEqual(
      layout.map(({ name }) => ({ name, id: null, mounted: false })),
    );
    expect((await statusLines(box, ["--device", device])).join("\n")).toMatch(says);
    expect(observe(box)).toEqual(before);
  },
);

test("of a volume that is down tells all that the superblock tells", async () => {
  const box = sandbox();
  const { image, device } = await preparedDisk(box);
  const facts = superblockFacts(image);
  const generation = Number(facts.generation);
  const expected = {
    uuid: facts.uuid,
    label: "arcbox-data",
    bytes: { device: GiB, filesystem: GiB },
    superblocks: [
      { offset: PRIMARY, state: "valid", generation },
      { offset: MIRROR, state: "valid", generation },
    ],
  };
  expect(await status(box, ["--device", device])).toMatchObject(expected);
  box.detach(device);
  const before = observe(box);
  expect(await status(box, ["--image", image])).toMatchObject({ ...expected, device: image });
  expect(observe(box)).toEqual(before);
});

test("of another's filesystem tells no UUID, label or superblock that a Btrfs left there", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", device);
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ verdict: "foreign", uuid: null, label: null, superblocks: [] });
});

test.each<[string, (box: Sandbox) => readonly string[]]>([
  ["an image that does not exist", (box) => ["--image", box.path("none.img")]],
  ["a disk that does not exist", (box) => ["--device", box.path("none")]],
  ["a loop device without a medium", (box) => ["--device", box.emptyLoop()]],
  ["a label that nobody has", () => ["--device", "label=there-is-no-such-label"]],
])("of %s says at once that it is absent", async (_, args) => {
  const box = sandbox();
  const where = args(box);
  const before = observe(box);
  const began = performance.now();
  const answer = await status(box, where);
  expect(performance.now() - began).toBeLessThan(3000);
  expect(answer).toMatchObject({ state: "absent", device: null, verdict: null, uuid: null });
  expect(answer.notes).not.toBeEmpty();
  expect((await statusLines(box, where))[0]).toMatch(/no such disk/i);
  expect(observe(box)).toEqual(before);
});

test("of something that is no disk is an error with the exit status of its code", async () => {
  const box = sandbox();
  const file = box.image(GiB);
  const run = await agent(["volume", "status", "--json", "--root", box.root, "--device", file]);
  expect(run.exitCode).toBe(3);
  expect(JSON.parse(run.stdout)).toMatchObject({ error: { code: "not-a-block-device" } });
});

test("of a volume that is up tells everything, and changes nothing", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const top = rawOf(box);
  command("sync", "--file-system", top);
  const before = observe(box);
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({
    state: "up",
    device,
    verdict: "mounted",
    label: "arcbox-data",
    readOnly: false,
    forcedReadOnly: false,
    errors: { write: 0, read: 0, flush: 0, corruption: 0, generation: 0 },
    notes: [],
  });
  expect(answer.uuid).toBe(command("findmnt", "-no", "UUID", "--mountpoint", top).trim());
  for (const option of ["compress=zstd:1", "discard=async"]) {
    expect(answer.options?.split(",")).toContain(option);
  }
  expect(answer.superblocks.map(({ state }) => state)).toEqual(["valid", "valid"]);
  const ids = new Map(
    [...command("btrfs", "subvolume", "list", top).matchAll(/^ID (\d+) .* path (.*)$/gm)].map(
      ([, id, name]) => [name, Number(id)],
    ),
  );
  expect(answer.subvolumes).toEqual(
    layout.map(({ name, path, nocow, files }) => ({
      name,
      id: ids.get(name) ?? null,
      path: join(box.root, path),
      mounted: true,
      nocow: [...nocow, ...files].map((directory) => ({ directory, set: true })),
    })),
  );
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[0]).toBe("The data volume is up and healthy.");
  expect(lines.filter((line) => line.startsWith("!"))).toBeEmpty();
  command("sync", "--file-system", top);
  expect(observe(box)).toEqual(before);
});

test("of an image that is up names the loop device", async () => {
  const box = sandbox();
  const image = box.path("disk.img");
  const { device } = await up(box, "--image", image, "--size", "1G");
  const before = observe(box);
  expect(await status(box, ["--image", image])).toMatchObject({ state: "up", device });
  expect(observe(box)).toEqual(before);
});

test("shows what is not mounted of a volume that is partly up", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  box.umount(dockerOf(box));
  const answer = await status(box, ["--device", device]);
  expect(answer.state).toBe("partial");
  expect(answer.subvolumes.filter(({ mounted }) => !mounted).map(({ name }) => name)).toEqual([
    "@docker",
  ]);
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[0]).toMatch(/partly/);
  expect(lines.join("\n")).toMatch(/volume up mounts the rest, or says what is in its place/);
});

test("a mount that another one hides does not count", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  box.mount("tmpfs", dockerOf(box), "-t", "tmpfs");
  const answer = await status(box, ["--device", device]);
  expect(answer.state).toBe("partial");
  expect(answer.subvolumes[0]).toMatchObject({ name: "@docker", mounted: false });
});

test("a volume mounted only somewhere else is down, with a note", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  box.mount(device, "elsewhere");
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "down", verdict: "mounted" });
  expect(answer.notes.join("\n")).toContain("not mounted at");
});

test("another volume's mounts are not taken for this one's", async () => {
  const box = sandbox();
  await mountedVolume(box);
  const other = btrfsDisk(box);
  const answer = await status(box, ["--device", other.device]);
  expect(answer).toMatchObject({ state: "down", device: other.device, verdict: "btrfs" });
  expect(answer.uuid).toBe(superblockFacts(other.image).uuid);
});

test("tells NOCOW that is missing from a directory that is missing", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  command("chattr", "-C", join(dockerOf(box), "network/files"));
  rmSync(join(dockerOf(box), "buildkit"), { recursive: true });
  rmSync(join(dockerOf(box), "volumes/metadata.db"));
  const answer = await status(box, ["--device", device]);
  const states = new Map(answer.subvolumes[0]?.nocow.map((row) => [row.directory, row.set]));
  expect(states.get("network/files")).toBeFalse();
  expect(states.get("buildkit")).toBeNull();
  expect(states.get("volumes/metadata.db")).toBeNull();
  expect(states.get("containerd/daemon/io.containerd.metadata.v1.bolt")).toBeTrue();
  const lines = (await statusLines(box, ["--device", device])).join("\n");
  expect(lines).toContain("not NOCOW: @docker/network/files");
  expect(lines).toContain("no such directory: @docker/buildkit;");
  expect(lines).toContain("no such file: @docker/volumes/metadata.db;");
});

test("of a volume that was given a second device tells what it can, and what is wrong", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const second = box.disk(GiB).device;
  command("btrfs", "device", "add", "-f", second, rawOf(box));
  const seen = await status(box, ["--device", device]);
  expect(seen).toMatchObject({ state: "up", verdict: "mounted", device });
  expect(seen.subvolumes.map(({ id }) => id)).not.toContain(null);
  expect(seen.notes.join()).toMatch(/one of 2 devices.*btrfs device remove/);
  command("btrfs", "device", "remove", second, rawOf(box));
  expect((await status(box, ["--device", device])).notes).toBeEmpty();
});

test("a volume is not healthy whose NOCOW directory is gone, or whose subvolume is read-only", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const first = async () => (await statusLines(box, ["--device", device]))[0];
  rmSync(join(dockerOf(box), "buildkit"), { recursive: true });
  expect(await first()).not.toMatch(/healthy/);
  await up(box, "--device", device);
  expect(await first()).toMatch(/healthy/);
  command("btrfs", "property", "set", join(rawOf(box), "@kubelet"), "ro", "true");
  expect(await first()).not.toMatch(/healthy/);
  expect((await status(box, ["--device", device])).notes.join()).toContain("@kubelet is read-only");
});

test.each<[string, (image: string) => void, string]>([
  ["zero", (image) => zeroAt(image, MIRROR, 4096), "zero"],
  ["damaged", (image) => flipByte(image, MIRROR + at.root), "damaged"],
  ["a stranger's", (image) => writeAt(image, MIRROR, randomBytes(4096)), "damaged"],
])("shows a mirror that is %s", async (_, edit, state) => {
  const box = sandbox();
  const disk = damage(await preparedDisk(box), edit);
  const answer = await status(box, ["--device", disk.device]);
  expect(answer.verdict).toBe("btrfs");
  expect(answer.superblocks).toMatchObject([
    { offset: PRIMARY, state: "valid" },
    { offset: MIRROR, state, generation: null },
  ]);
  const lines = await statusLines(box, ["--device", disk.device]);
  expect(lines.filter((line) => line.startsWith("!")).join("\n")).toMatch(/copy.*64 MiB/);
});

test("shows a mirror of an older commit as stale", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const old = readAt(disk.image, MIRROR, 4096);
  withWholeFilesystem(disk, box, (top) => writeFileSync(join(top, "newer"), "newer"));
  flush(disk.device);
  damage(disk, (image) => writeAt(image, MIRROR, old));
  const answer = await status(box, ["--device", disk.device]);
  expect(answer.superblocks.map(({ state }) => state)).toEqual(["valid", "stale"]);
});

test("shows the damaged primary of a volume that is up", async () => {
  const box = sandbox();
  const disk = await mountedVolume(box);
  command("sync", "--file-system", rawOf(box));
  zeroAt(disk.device, PRIMARY, 4096);
  const answer = await status(box, ["--device", disk.device]);
  expect(answer.state).toBe("up");
  expect(answer.superblocks[0]).toMatchObject({ offset: PRIMARY, state: "zero" });
});

/** `Overall` of `btrfs filesystem usage`, the profiles behind it, and `FS bytes used`. */
function usage(top: string) {
  const text = command("btrfs", "filesystem", "usage", "--raw", top);
  const shown = command("btrfs", "filesystem", "show", "--raw", top);
  const number = (pattern: RegExp, from = text): number => Number(pattern.exec(from)?.[1]);
  return {
    filesystem: number(/Device size:\s+(\d+)/),
    unallocated: number(/Device unallocated:\s+(\d+)/),
    used: number(/FS bytes used (\d+)/, shown),
    free: number(/Free \(estimated\):\s+(\d+)/),
    profiles: [...text.matchAll(/^(\w+),(\w+): Size:(\d+), Used:(\d+)/gm)].map(
      ([, type, profile, total, used]) => ({
        type: type?.toLowerCase(),
        profile: profile?.toLowerCase(),
        total: Number(total),
        used: Number(used),
      }),
    ),
  };
}

test("the bytes are those of btrfs-progs, and the same once the volume is down", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  writeFileSync(join(dockerOf(box), "file"), randomBytes(50 * MiB));
  command("sync", "--file-system", rawOf(box));
  const expected = usage(rawOf(box));
  const { bytes, profiles } = await status(box, ["--device", device]);
  const byType = (a: { type?: string | undefined }, b: { type?: string | undefined }) =>
    (a.type ?? "").localeCompare(b.type ?? "");
  expect([...profiles].sort(byType) as unknown[]).toEqual(expected.profiles.sort(byType));
  expect(bytes.device).toBe(GiB);
  expect(bytes.filesystem).toBe(expected.filesystem);
  expect(bytes.unallocated).toBe(expected.unallocated);
  expect(bytes.used).toBe(expected.used);
  // btrfs-progs counts the first MiB of the device, in which no chunk is ever made.
  expect(Math.abs((bytes.writable ?? 0) - expected.free)).toBeLessThanOrEqual(MiB);
  await down(box, "--device", device);
  flush(device);
  expect((await status(box, ["--device", device])).bytes.used).toBe(expected.used);
});

test("a disk that became larger is shown with both sizes", async () => {
  const box = sandbox();
  const { image, device } = await mountedVolume(box);
  resize(image, 2 * GiB);
  command("losetup", "--set-capacity", device);
  const { bytes } = await status(box, ["--device", device]);
  expect(bytes).toMatchObject({ device: 2 * GiB, filesystem: GiB });
  expect((await statusLines(box, ["--device", device])).join("\n")).toMatch(/grows it to 2 GiB/);
});

/** How many bytes of data fit until ENOSPC. */
function writeUntilFull(path: string): number {
  const fd = openSync(path, "w");
  let written = 0;
  for (const bytes of [MiB, 4096]) {
    const chunk = randomBytes(bytes);
    untilFull(() => {
      written += writeSync(fd, chunk);
    });
  }
  closeSync(fd);
  return written;
}

const atMost = 200_000;

function untilFull(write: (count: number) => void): void {
  for (let count = 0; count < atMost; count += 1) {
    try {
      write(count);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") return;
      throw error;
    }
  }
  throw new Error("the volume does not fill up");
}

async function expectFull(box: Sandbox, device: string): Promise<void> {
  command("sync", "--file-system", rawOf(box));
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "up", readOnly: false, bytes: { writable: 0 } });
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[0]).not.toMatch(/healthy/);
  expect(lines[1]).toMatch(/^! .*full/);
}

test("`writable` is what can really be written, and nothing once it is written", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box, 512 * MiB);
  const promised = (await status(box, ["--device", device])).bytes.writable ?? 0;
  const written = writeUntilFull(join(dockerOf(box), "file"));
  expect(Math.abs(promised - written)).toBeLessThan(0.1 * written);
  await expectFull(box, device);
});

test("where the metadata is full nothing is writable, though there is room for data", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box, 128 * MiB);
  const file = join(dockerOf(box), "file");
  writeUntilFull(file);
  command("sync", "--file-system", rawOf(box));
  const folder = join(dockerOf(box), "links");
  mkdirSync(folder);
  // What a symbolic link points to lies in the metadata.
  for (const bytes of [3900, 500, 10]) {
    untilFull((n) => symlinkSync("y".repeat(bytes), join(folder, `link${bytes}.${n}`)));
  }
  command("sync", "--file-system", rawOf(box));
  await expectFull(box, device);
});

/** A volume that the kernel made read-only, because its disk could write no more. */
async function forcedReadOnly(box: Sandbox): Promise<Disk> {
  const folder = box.mount("tmpfs", "small", "-t", "tmpfs", "-o", "size=64M");
  const image = join(folder, "disk.img");
  const disk = { image, device: attached(box, image, GiB) };
  await up(box, "--device", disk.device);
  writeFileSync(join(folder, "filler"), randomBytes(MiB));
  tryCommand("dd", "if=/dev/zero", `of=${join(folder, "filler")}`, "bs=64K");
  writeFileSync(join(dockerOf(box), "lost"), randomBytes(8 * MiB));
  tryCommand("sync", "--file-system", rawOf(box));
  return disk;
}

function attached(box: Sandbox, image: string, sizeBytes: number): string {
  command("truncate", `--size=${sizeBytes}`, image);
  return box.attach(image);
}

test("a volume that the kernel made read-only after an error is said loudly, first of all", async () => {
  const box = sandbox();
  const { device } = await forcedReadOnly(box);
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "up", readOnly: true, forcedReadOnly: true });
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[0]).not.toMatch(/healthy/);
  expect(lines.slice(0, 2).join("\n")).toMatch(/READ-ONLY/);
});

test("nothing is writable on a volume that is read-only, whatever space there is", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  command("mount", "-o", "remount,ro", rawOf(box));
  expect((await status(box, ["--device", device])).bytes.writable).toBe(0);
});

test("a volume that somebody mounted read-only is told from one the kernel made so", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  command("mount", "-o", "remount,ro", rawOf(box));
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ readOnly: true, forcedReadOnly: false });
  const lines = await statusLines(box, ["--device", device]);
  expect(lines[1]).toMatch(/^! .*read-only/);
  // Nothing can be written, but not for want of space.
  expect(lines.join("\n")).not.toMatch(/full/);
});

test("a read-only view of it elsewhere does not make the volume read-only", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const elsewhere = box.mount(device, "elsewhere");
  command("mount", "-o", "remount,bind,ro", elsewhere);
  await up(box, "--device", device);
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "up", readOnly: false, forcedReadOnly: false });
});

const nobody = (): readonly string[] => [
  tool("setpriv"),
  "--reuid=65534",
  "--regid=65534",
  "--clear-groups",
];

test("without root tells what can be seen, and what could not", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  chmodSync(box.dir, 0o755);
  const before = observe(box);
  const answer = await status(box, ["--device", device], { prefix: nobody() });
  expect(answer).toMatchObject({ state: "up", device, readOnly: false, superblocks: [] });
  expect(answer.bytes).toMatchObject({ filesystem: GiB, writable: expect.any(Number) });
  expect(answer.subvolumes.every(({ mounted, id }) => mounted && id !== null)).toBeTrue();
  expect(answer.notes.join("\n")).toMatch(/root/);
  const lines = await statusLines(box, ["--device", device], { prefix: nobody() });
  // What nobody looked at is neither healthy nor unset.
  expect(lines[0]).not.toMatch(/healthy/);
  expect(lines.join("\n")).not.toMatch(/NOCOW 0 of|""/);
  expect(observe(box)).toEqual(before);
});

test("without root a disk that is down is not called absent without a word", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  chmodSync(box.dir, 0o755);
  const answer = await status(box, ["--device", device], { prefix: nobody() });
  expect(answer.notes.join("\n")).toMatch(/permission.*root/);
  const [first] = await statusLines(box, ["--device", device], { prefix: nobody() });
  expect(first).not.toMatch(/no such disk/i);
});

const narrow = 40;

async function onNarrowTerminal(box: Sandbox, ...args: readonly string[]) {
  const lines = await statusLines(box, args, { prefix: onTerminal(narrow) });
  return lines.map(withoutEscapes);
}

test.each<[string, (box: Sandbox) => Promise<Disk>]>([
  ["up", (box) => mountedVolume(box)],
  [
    "partly up",
    async (box) => {
      const disk = await mountedVolume(box);
      box.umount(dockerOf(box));
      return disk;
    },
  ],
  ["read-only after an error", (box) => forcedReadOnly(box)],
  ...atRest.map(({ what, make }): [string, (box: Sandbox) => Promise<Disk>] => [what, make]),
])("no line is wider than a terminal of 40 columns: %s", async (_, make) => {
  const box = sandbox();
  const { device } = await make(box);
  const lines = await onNarrowTerminal(box, "--device", device);
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.filter((line) => Array.from(line).length > narrow)).toBeEmpty();
});

test("even on a narrow terminal, how much is used and can be written is readable", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const lines = (await onNarrowTerminal(box, "--device", device)).join("\n");
  expect(lines).toMatch(/used .*\d %/);
  expect(lines).toMatch(/writable +[\d.]+ MiB/);
});

test("colours are for a terminal, and not where NO_COLOR is set", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const args = ["--device", device];
  const control = "\u001b[";
  const env = tool("env");
  const text = async (...prefix: readonly string[]) =>
    (await statusLines(box, args, { prefix })).join("\n");
  expect(await text(env, "-u", "NO_COLOR", ...onTerminal(100))).toContain(`${control}32m`);
  expect(await text(env, "NO_COLOR=1", ...onTerminal(100))).not.toContain(control);
  // An empty NO_COLOR asks for nothing: no-color.org.
  expect(await text(env, "NO_COLOR=", ...onTerminal(100))).toContain(control);
  expect(await text()).not.toContain(control);
});

test.each([
  ["text", []],
  ["JSON", ["--json"]],
])("a reader that went away is no error: %s", async (_, extra) => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const prefix = [
    tool("bash"),
    "-c",
    '{ sleep 0.2; "$@"; echo "exit $?" >&2; } | true; true',
    "bash",
  ];
  const args = ["volume", "status", "--root", box.root, "--device", device, ...extra];
  const run = await agent(args, { prefix });
  expect(run.stderr).toBe("exit 0\n");
});

test("the first line alone can be taken by head", async () => {
  const box = sandbox();
  const { device } = await mountedVolume(box);
  const prefix = [tool("bash"), "-c", 'set -o pipefail; "$@" | head -1; echo "exit $?"', "bash"];
  const run = await agent(["volume", "status", "--root", box.root, "--device", device], { prefix });
  expect(run.stdout).toBe("The data volume is up and healthy.\nexit 0\n");
  expect(run.stderr).toBe("");
});

test.each<[string, (disk: Disk, box: Sandbox) => readonly string[]]>([
  ["disk", ({ device }) => ["--device", device]],
  [
    "image",
    ({ image, device }, box) => {
      box.detach(device);
      return ["--image", image];
    },
  ],
])("a locked %s is looked at without waiting, and the holder is named", async (_, args) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const where = args(disk, box);
  box.onEnd(lockExclusively(where[1] ?? ""));
  const began = performance.now();
  const { notes, verdict } = await status(box, where);
  expect(performance.now() - began).toBeLessThan(3000);
  expect(verdict).toBe("btrfs");
  expect(notes.join("\n")).toContain(`process ${process.pid} `);
});

test("a disk that is being formatted at this moment is said to be, not called broken", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const started = box.path("mkfs-started");
  const go = box.path("go");
  // It ends by itself, also when the test fails and its folder is gone.
  const waiting = `while [ ! -e '${go}' ] && [ -e '${started}' ]; do sleep 0.01; done`;
  replaceMkfs(box, `: > '${started}'; ${waiting}; "$REAL" "$@"`);
  const running = start(["volume", "up", "--root", box.root, "--device", device]);
  while (!(await Bun.file(started).exists())) await Bun.sleep(5);
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "down", verdict: "interrupted" });
  expect(answer.notes.join("\n")).toMatch(/working on the disk right now/);
  const lines = await statusLines(box, ["--device", device]);
  writeFileSync(go, "");
  expect((await running.done).exitCode).toBe(0);
  expect(lines[0]).not.toMatch(/interrupted/);
  expect(lines.join("\n")).not.toMatch(/did not finish/);
  expect((await status(box, ["--device", device])).state).toBe("up");
  await down(box, "--device", device);
});

test("control characters in a name do not reach the terminal", async () => {
  const box = sandbox();
  const lines = await statusLines(box, ["--device", box.path("none\u001b[2J\nfaked")]);
  expect(lines.join("\n")).not.toContain("\u001b");
  expect(lines).not.toContain("faked");
});

test("a label with control characters does not reach the terminal", async () => {
  const box = sandbox();
  const { device } = btrfsDisk(box, GiB, "--label", "\u001b[2Jlabel");
  const answer = await status(box, ["--device", device]);
  expect(answer.label).toBe("\u001b[2Jlabel");
  expect((await statusLines(box, ["--device", device])).join("\n")).not.toContain("\u001b");
});
