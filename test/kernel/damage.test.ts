import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, succeeds, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { copySparse, flipByte, GiB, KiB, MiB, readAt, writeAt, zeroAt } from "../kit/image.ts";
import { expectRefused } from "../kit/refusal.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import {
  at,
  editSuperblock,
  LAST_MIRROR,
  MIRROR,
  PRIMARY,
  readSuperblock,
  superblockFacts,
} from "../kit/superblock.ts";
import {
  checkFilesystem,
  dockerOf,
  expectMounted,
  markerIsThere,
  ourMounts,
  prepare,
  preparedDisk,
  writeMarker,
} from "../kit/volume.ts";

const sandbox = useSandbox();

/** Edits the image of a prepared disk behind the back of the loop device. */
function damage({ image, device }: Disk, edit: (image: string) => void): void {
  edit(image);
  command("blockdev", "--flushbufs", device);
}

const flip = (offset: number) => (image: string) => flipByte(image, PRIMARY + offset);

/** `up` repairs it: the file is there, the primary is as before, and the filesystem is sound. */
async function expectRepaired(box: Sandbox, disk: Disk, good: Buffer, ...args: readonly string[]) {
  const damaged = readSuperblock(disk.image);
  const run = await volume(box, "up", ["--device", disk.device, ...args]);
  const report = await succeeds(Promise.resolve(run));
  expect(report.outcome).toBe("changed");
  expect(stepOutcomes(report).filesystem).toBe("changed");
  expect(run.stdout.toLowerCase()).toContain(damaged.toString("hex"));
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
  expect(readSuperblock(disk.image).equals(good)).toBeTrue();
  return report;
}

const flips = [
  "csum",
  "fsid",
  "bytenr",
  "flags",
  "magic",
  "generation",
  "root",
  "chunkRoot",
  "logRoot",
  "totalBytes",
  "numDevices",
  "sectorSize",
  "nodeSize",
  "sysChunkArraySize",
  "incompatFlags",
  "csumType",
  "rootLevel",
  "deviceId",
  "deviceBytes",
  "deviceUuid",
  "label",
  "sysChunkArray",
  "superRoots",
  "padding",
  "lastByte",
] as const;

test.each(flips)(
  "one byte flipped in the superblock's %s is repaired from the mirror",
  async (field) => {
    const box = sandbox();
    const disk = await preparedDisk(box);
    const good = readSuperblock(disk.image);
    damage(disk, flip(at[field]));
    const report = await expectRepaired(box, disk, good);
    expect(report.verdict).toBe("damaged");
  },
);

test.each(["xxhash", "sha256", "blake2"])(
  "a superblock with a %s checksum is repaired too",
  async (checksum) => {
    const box = sandbox();
    const disk = box.disk(GiB);
    command("mkfs.btrfs", "--quiet", "--checksum", checksum, disk.device);
    await prepare(box, disk);
    const good = readSuperblock(disk.image);
    damage(disk, flip(at.label));
    await expectRepaired(box, disk, good);
  },
);

test.each<[string, (image: string) => void]>([
  ["its sector zeroed", (image) => zeroAt(image, PRIMARY, 4096)],
  ["the first MiB zeroed", (image) => zeroAt(image, 0, MiB)],
])(
  "a superblock with %s names no filesystem: only when asked it is repaired from the mirror, with a warning of lost syncs",
  async (_, edit) => {
    const box = sandbox();
    const disk = await preparedDisk(box);
    const good = readSuperblock(disk.image);
    damage(disk, edit);
    const names = [disk.device, /--repair always/];
    await expectRefused(box, ["--device", disk.device], { code: "ambiguous", names });
    const report = await expectRepaired(box, disk, good, "--repair", "always");
    expect(report.verdict).toBe("ambiguous");
    expect(report.notes.join("\n")).toMatch(/sync|log/i);
  },
);

test("the kernel's last mirror repairs when the first mirror is damaged as well", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, 300 * GiB);
  const good = readSuperblock(disk.image);
  damage(disk, (image) => {
    flipByte(image, PRIMARY + at.label);
    flipByte(image, MIRROR + at.generation);
  });
  await expectRepaired(box, disk, good);
});

test("an image is repaired as a disk is", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  box.detach(disk.device);
  flipByte(disk.image, PRIMARY + at.root);
  const report = await up(box, "--image", disk.image);
  expect(report.verdict).toBe("damaged");
  expect(markerIsThere(box)).toBeTrue();
});

test("the mirror with the highest generation is the one taken", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box, 300 * GiB);
  const stale = readSuperblock(disk.image, LAST_MIRROR);
  await up(box, "--device", disk.device);
  writeFileSync(join(dockerOf(box), "newer"), "newer");
  await down(box, "--device", disk.device);
  const good = readSuperblock(disk.image);
  damage(disk, (image) => {
    writeAt(image, LAST_MIRROR, stale);
    flipByte(image, PRIMARY + at.label);
  });
  await expectRepaired(box, disk, good);
});

/** A copy of a mounted disk at the moment after a file was synced: only its log has the file. */
async function withSyncedFile(box: Sandbox): Promise<Disk> {
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  writeMarker(box);
  command("sync", "--file-system", dockerOf(box));
  writeFileSync(join(dockerOf(box), "synced"), "in the log", { flush: true });
  const image = box.path("crashed.img");
  copySparse(disk.image, image);
  await down(box, "--device", disk.device);
  expect(superblockFacts(image).logRoot).not.toBe(0n);
  expect(superblockFacts(image, MIRROR).logRoot).toBe(0n);
  return { image, device: box.attach(image) };
}

test.each(["csum", "magic", "label", "root", "deviceUuid", "superRoots", "lastByte"] as const)(
  "a file synced since the last commit survives a flipped byte in %s",
  async (field) => {
    const box = sandbox();
    const disk = await withSyncedFile(box);
    damage(disk, flip(at[field]));
    const report = await up(box, "--device", disk.device);
    expect(report.verdict).toBe("damaged");
    expect(markerIsThere(box)).toBeTrue();
    expect(readFileSync(join(dockerOf(box), "synced"), "utf8")).toBe("in the log");
    expect(report.notes.join("\n")).not.toMatch(/may be (gone|lost)/i);
    await down(box, "--device", disk.device);
    checkFilesystem(disk);
  },
);

test.each<[string, (image: string) => void]>([
  ["the log's address is what was damaged", flip(at.logRoot)],
  ["the sector is zeroed", (image) => zeroAt(image, PRIMARY, 4096)],
])(
  "when %s, the committed data is there and the report says loudly what may be gone",
  async (_, edit) => {
    const box = sandbox();
    const disk = await withSyncedFile(box);
    damage(disk, edit);
    const report = await up(box, "--device", disk.device, "--repair", "always");
    expect(markerIsThere(box)).toBeTrue();
    expect(report.notes.join("\n")).toMatch(/sync|log/i);
    await down(box, "--device", disk.device);
    checkFilesystem(disk);
  },
);

test("a repair is done once: the next boot finds a sound disk", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, flip(at.generation));
  await up(box, "--device", disk.device);
  await down(box, "--device", disk.device);
  const report = await up(box, "--device", disk.device);
  expect(report.verdict).toBe("btrfs");
  expect(stepOutcomes(report).filesystem).toBe("kept");
});

test("--repair never refuses a damaged superblock", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, flip(at.label));
  await expectRefused(box, ["--device", disk.device, "--repair", "never"], { code: "damaged" });
});

test("--format any does not format a damaged superblock", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const good = readSuperblock(disk.image);
  damage(disk, flip(at.label));
  await expectRefused(box, ["--device", disk.device, "--repair", "never", "--format", "any"], {
    code: "damaged",
  });
  await expectRepaired(box, disk, good, "--format", "any");
});

interface Doubtful {
  readonly what: string;
  readonly code: "ambiguous" | "wiped";
  readonly edit: (image: string) => void;
}

const doubtful: readonly Doubtful[] = [
  {
    what: "a superblock full of garbage",
    code: "ambiguous",
    edit: (image) => writeAt(image, PRIMARY, randomBytes(4096)),
  },
  {
    what: "a zeroed superblock behind a head that is somebody's",
    code: "ambiguous",
    edit: (image) => {
      zeroAt(image, PRIMARY, 4096);
      writeAt(image, 20 * KiB, Buffer.from("somebody's bytes"));
    },
  },
  {
    what: "a superblock of which only the magic is zeroed",
    code: "wiped",
    edit: (image) => zeroAt(image, PRIMARY + at.magic, 8),
  },
];

const doubtfulRows = doubtful.map((row) => [row.what, row] as const);

test.each(doubtfulRows)("%s is refused", async (_, { code, edit }) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, edit);
  const args = ["--device", disk.device];
  const report = await expectRefused(box, args, { code, names: [disk.device, /--repair/] });
  expect(report.verdict).toBe(code);
  await expectRefused(box, [...args, "--repair", "never"], { code });
});

test.each(doubtfulRows)("%s is revived by --repair always", async (_, { edit }) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const good = readSuperblock(disk.image);
  damage(disk, edit);
  await expectRepaired(box, disk, good, "--repair", "always");
});

test.each(doubtfulRows)("%s is formatted by --format any", async (_, { code, edit }) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, edit);
  const report = await up(box, "--device", disk.device, "--format", "any");
  expect(report.verdict).toBe(code);
  expect(markerIsThere(box)).toBeFalse();
  expectMounted(box.root);
});

test("what wipefs leaves is a wiped disk", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  command("wipefs", "--all", "--quiet", disk.device);
  await expectRefused(box, ["--device", disk.device], { code: "wiped", device: disk.device });
});

/** A disk of 300 GiB whose last mirror is another filesystem's. */
async function withStrangersMirror(box: Sandbox): Promise<Disk> {
  const disk = await preparedDisk(box, 300 * GiB);
  const stranger = box.image(300 * GiB);
  command("mkfs.btrfs", "--quiet", stranger);
  damage(disk, (image) => writeAt(image, LAST_MIRROR, readAt(stranger, LAST_MIRROR, 4096)));
  return disk;
}

test.each<[string, (image: string) => void]>([
  ["zeroed", (image) => zeroAt(image, PRIMARY, 4096)],
  ["garbage", (image) => writeAt(image, PRIMARY, randomBytes(4096))],
])("mirrors of two filesystems under a %s primary are ambiguous", async (_, edit) => {
  const box = sandbox();
  const disk = await withStrangersMirror(box);
  damage(disk, edit);
  await expectRefused(box, ["--device", disk.device], { code: "ambiguous" });
});

test("a stale mirror of another filesystem is left out where the primary's id is legible", async () => {
  const box = sandbox();
  const disk = await withStrangersMirror(box);
  const good = readSuperblock(disk.image);
  damage(disk, flip(at.label));
  const report = await expectRepaired(box, disk, good);
  expect(report.verdict).toBe("damaged");
});

test("all copies damaged are hopeless, and the rescue tools are named as what finds nothing", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, (image) => {
    flipByte(image, PRIMARY + at.label);
    flipByte(image, MIRROR + at.label);
  });
  for (const repair of ["auto", "always", "never"]) {
    const report = await expectRefused(box, ["--device", disk.device, "--repair", repair], {
      code: "hopeless",
      names: [/btrfs[ -](rescue|restore)/, /backup/],
    });
    expect(report.verdict).toBe("hopeless");
  }
  await up(box, "--device", disk.device, "--format", "any");
  expect(markerIsThere(box)).toBeFalse();
});

test("a superblock copied to the wrong place is not a valid one", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const good = readSuperblock(disk.image);
  damage(disk, (image) => writeAt(image, PRIMARY, readSuperblock(image, MIRROR)));
  const report = await expectRepaired(box, disk, good);
  expect(report.verdict).toBe("damaged");
});

test("features that this kernel does not know are refused with what can be tried, nothing is repaired", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  damage(disk, (image) => {
    for (const place of [PRIMARY, MIRROR]) {
      editSuperblock(image, place, (block) => block.writeUInt8(0x80, at.incompatFlags + 6));
    }
  });
  const before = readSuperblock(disk.image);
  const { report } = await volume(box, "up", ["--device", disk.device]);
  expect(report.error?.code).toBe("mount-failed");
  expect(`${report.error?.message} ${report.error?.hint}`).toMatch(/kernel/i);
  expect(readSuperblock(disk.image).equals(before)).toBeTrue();
  expect(ourMounts(box)).toBeEmpty();
});

test("a tree that cannot be read is mount-failed, and the rescue options come in order", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const rootTree = Number(readSuperblock(disk.image).readBigUInt64LE(at.root));
  damage(disk, (image) => {
    for (const physical of physicalPlaces(disk, rootTree)) zeroAt(image, physical, 16 * KiB);
  });
  const { report } = await volume(box, "up", ["--device", disk.device]);
  expect(report.error?.code).toBe("mount-failed");
  const said = `${report.error?.message} ${report.error?.hint}`;
  expect(said).toMatch(/usebackuproot[\s\S]*rescue=all/);
  expect(ourMounts(box)).toBeEmpty();
});

function physicalPlaces({ device }: Disk, logical: number): number[] {
  const mapped = command("btrfs-map-logical", "--logical", String(logical), device);
  const places = [...mapped.matchAll(/physical (\d+)/g)].map((match) => Number(match[1]));
  expect(places).toHaveLength(2);
  return places;
}
