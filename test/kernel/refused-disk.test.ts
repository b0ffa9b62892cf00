import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { down, fails, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { depth } from "../kit/depth.ts";
import {
  type ForeignDisk,
  madeByTools,
  reiserfs,
  type Signature,
  signatures,
  stamp,
} from "../kit/foreign-disks.ts";
import {
  fingerprint,
  flipByte,
  flush,
  GiB,
  KiB,
  MiB,
  readAt,
  resize,
  writeAt,
  zeroAt,
} from "../kit/image.ts";
import { addToCommandLine } from "../kit/kernel-command-line.ts";
import { mdFormats, writeMdSuperblock } from "../kit/md-member.ts";
import { expectRefused } from "../kit/refusal.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { PRIMARY } from "../kit/superblock.ts";
import { unpackedCommand } from "../kit/unpacked.ts";
import { btrfsDisk, expectMounted, markerIsThere, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

const forget = ({ device }: Disk): void => void command("blockdev", "--flushbufs", device);

/** Edits the image behind the back of the loop device. */
function edit(disk: Disk, change: (image: string) => void): void {
  change(disk.image);
  forget(disk);
}

const deviceOf = ({ device }: Disk): readonly string[] => ["--device", device];

const named = <T extends { readonly what: string }>(rows: readonly T[]): (readonly [string, T])[] =>
  rows.map((row) => [row.what, row] as const);

/** A disk of somebody else, with nothing of it left in a cache. */
function foreignDisk(box: Sandbox, { make }: ForeignDisk): Disk {
  const disk = box.disk(GiB);
  make(disk, box);
  flush(disk.device);
  forget(disk);
  return disk;
}

const tools = named(madeByTools);
/** The other tests of them, in the slice with one disk of each kind of mark: head, end, table. */
const someTools = depth(
  tools.filter(([what]) =>
    /^(ntfs|minix 1|LUKS2|drbd 9|.* version 1.0|a GPT with .*|a Sun .*)$/.test(what),
  ),
  tools,
);

test.each(tools)("%s is refused by name, as disk and as image", async (_, row) => {
  const box = sandbox();
  const disk = foreignDisk(box, row);
  const report = await expectRefused(box, deviceOf(disk), {
    code: "foreign",
    names: [disk.device, row.named],
    device: disk.device,
  });
  expect(report.verdict).toBe("foreign");
  box.detach(disk.device);
  await expectRefused(box, ["--image", disk.image, "--format", "never"], {
    code: "foreign",
    names: [row.named],
  });
});

test.each(someTools)(
  "%s is formatted with --format any, and nothing of it is seen again",
  async (_, row) => {
    const box = sandbox();
    const disk = foreignDisk(box, row);
    const report = await up(box, ...deviceOf(disk), "--format", "any");
    expect(report).toMatchObject({ outcome: "changed", verdict: "foreign" });
    await down(box, ...deviceOf(disk));
    expect((await up(box, ...deviceOf(disk))).verdict).toBe("btrfs");
  },
);

/**
 * A Btrfs that ends before its disk, as one does that was made on an array or in front of a table's backup. What
 * stands in front of a filesystem's end may be the content of a file, and is no mark.
 */
const smallerBtrfs = (box: Sandbox): Disk => btrfsDisk(box, GiB, "--byte-count", String(GiB - MiB));

/** Those whose mark lies in the superblock's own place cannot be on a disk beside it. */
const besideBtrfs = someTools.filter(([what]) => !/reiser|gfs2/.test(what));

test.each(besideBtrfs)("the marks of %s over a valid Btrfs are refused by name", async (_, row) => {
  const box = sandbox();
  const { image } = foreignDisk(box, row);
  const disk = smallerBtrfs(box);
  edit(disk, (btrfs) => {
    for (const [offset, length] of [
      [0, PRIMARY],
      [GiB - 128 * KiB, 128 * KiB],
    ] as const) {
      writeAt(btrfs, offset, readAt(image, offset, length));
    }
  });
  await expectRefused(box, deviceOf(disk), { code: "foreign", names: [row.named] });
});

test.each(["minix 3", "bfs", "ext4"])(
  "a small %s in the last MiB of a disk is not overwritten",
  async (what) => {
    const box = sandbox();
    const small = box.disk(MiB);
    madeByTools.find((row) => row.what === what)?.make(small, box);
    flush(small.device);
    const disk = box.disk(GiB);
    edit(disk, (image) => writeAt(image, GiB - MiB, readAt(small.image, 0, MiB)));
    await expectRefused(box, deviceOf(disk), { code: "unknown" });
    box.detach(disk.device);
    await expectRefused(box, ["--image", disk.image], { code: "unknown" });
  },
);

test("what this test takes for a member of an array is one to mdadm", () => {
  const box = sandbox();
  for (const format of mdFormats) {
    const disk = box.disk(GiB);
    edit(disk, (image) => writeMdSuperblock(image, GiB, format));
    const said = unpackedCommand("mdadm", "--examine", disk.device);
    expect(said).toMatch(/Magic : a92b4efc/);
    expect(said).toMatch(new RegExp(`Version : ${format.version.replace(".", "\\.")}`));
    expect(said).toMatch(/Checksum : [0-9a-f]+ - correct/);
  }
});

test.each(named([...signatures, ...reiserfs]))(
  "a disk that only bears the magic of %s is not blank",
  async (_, row) => {
    const box = sandbox();
    const disk = box.disk(GiB);
    edit(disk, (image) => stamp(image, row));
    await expectRefused(box, deviceOf(disk), { code: ["foreign", "unknown"] });
  },
);

test.each(named(signatures))(
  "%s over a valid Btrfs is refused by name",
  async (_, row: Signature) => {
    const box = sandbox();
    const disk = btrfsDisk(box);
    edit(disk, (image) => stamp(image, row));
    await expectRefused(box, deviceOf(disk), { code: "foreign", names: [row.named] });
  },
);

test.each(named(reiserfs))("%s made over an old Btrfs is refused, not repaired", async (_, row) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  edit(disk, (image) => {
    zeroAt(image, 0, 64 * KiB); // as mkreiserfs does
    stamp(image, row);
  });
  await expectRefused(box, deviceOf(disk), { code: ["foreign", "ambiguous"] });
});

test.each([
  ["ext4", (disk: Disk) => command("mkfs.ext4", "-q", "-F", disk.device), /ext/i],
  ["xfs", (disk: Disk) => command("mkfs.xfs", "-q", "-f", disk.device), /xfs/i],
  ["swap", (disk: Disk) => command("mkswap", "-f", disk.device), /swap/i],
] as const)("%s made over an old Btrfs is refused, not repaired", async (_, make, name) => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  make(disk);
  flush(disk.device);
  forget(disk);
  await expectRefused(box, deviceOf(disk), { code: "foreign", names: [name] });
});

test("ext4 over an old Btrfs is refused with --repair always too", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  command("mkfs.ext4", "-q", "-F", disk.device);
  edit(disk, (image) => zeroAt(image, PRIMARY, 4096));
  await expectRefused(box, [...deviceOf(disk), "--repair", "always"], { code: "foreign" });
});

test("a GPT written over a valid Btrfs is refused", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const before = readAt(disk.image, PRIMARY, 4096);
  const gpt = madeByTools.find(({ what }) => what === "a GPT with a partition");
  gpt?.make(disk, box);
  flush(disk.device);
  forget(disk);
  expect(readAt(disk.image, PRIMARY, 4096)).toEqual(before);
  await expectRefused(box, deviceOf(disk), { code: "foreign", names: [/gpt|partition/i] });
});

test("the backup of a GPT at the end of the disk is refused, over a valid Btrfs too", async () => {
  const box = sandbox();
  for (const disk of [box.disk(GiB), smallerBtrfs(box)]) {
    const table = box.disk(GiB);
    madeByTools.find(({ what }) => what === "a GPT with a partition")?.make(table, box);
    flush(table.device);
    edit(disk, (image) => writeAt(image, GiB - 512, readAt(table.image, GiB - 512, 512)));
    await expectRefused(box, deviceOf(disk), { code: "foreign", names: [/gpt|partition/i] });
  }
});

test("a seed device, which the kernel never writes to, is refused before it is mounted", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  command("btrfstune", "-f", "-S", "1", disk.device);
  flush(disk.device);
  forget(disk);
  await expectRefused(box, deviceOf(disk), { code: "read-only", names: [/seed/, /btrfstune/] });
  // Damaged, but it still says which filesystem it is of.
  edit(disk, (image) => flipByte(image, PRIMARY + 3000));
  await expectRefused(box, deviceOf(disk), { code: "read-only", names: [/seed/] });
});

test("the boot signature without a partition is no partition table: a Btrfs under it goes on", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  edit(disk, (image) => writeAt(image, 510, Buffer.from([0x55, 0xaa])));
  await up(box, ...deviceOf(disk));
  expect(markerIsThere(box)).toBeTrue();
});

const mdRows = mdFormats.map((format) => [format.version, format] as const);

test.each(mdRows)("an md member %s that mirrors a Btrfs is refused", async (_, format) => {
  const box = sandbox();
  const disk = smallerBtrfs(box);
  edit(disk, (image) => writeMdSuperblock(image, GiB, format));
  await expectRefused(box, deviceOf(disk), { code: "foreign", names: [/md|raid/i] });
});

test("an md member whose size is no multiple of 64 KiB is refused", async () => {
  const box = sandbox();
  const sizeBytes = GiB + 5 * 4096 + 512;
  for (const format of mdFormats) {
    const disk = box.disk(sizeBytes);
    edit(disk, (image) => writeMdSuperblock(image, sizeBytes, format));
    await expectRefused(box, deviceOf(disk), { code: "foreign", names: [/md|raid/i] });
  }
});

test.each<[string, readonly string[]]>([
  ["ext4", ["mkfs.ext4", "-q", "-F"]],
  ["ext4 with 1 KiB blocks", ["mkfs.ext4", "-q", "-F", "-b", "1024"]],
  ["xfs", ["mkfs.xfs", "-q", "-f"]],
])("%s with its first 2 MiB zeroed is not blank", async (_, [mkfs = "", ...options]) => {
  const box = sandbox();
  for (const sizeBytes of [GiB, 20 * GiB]) {
    const disk = box.disk(sizeBytes);
    command(mkfs, ...options, disk.device);
    flush(disk.device);
    edit(disk, (image) => zeroAt(image, 0, 2 * MiB));
    await expectRefused(box, deviceOf(disk), {
      code: "unknown",
      names: [/\d{6,}|0x[0-9a-f]+|MiB|GiB/],
    });
  }
});

/** Neither a power of two nor a round number: no two kinds of places coincide. */
const ODD_SIZE = 1301 * MiB;

test.each([
  ["ext4 with 4 KiB blocks, group 1", 128 * MiB],
  ["ext4 with 4 KiB blocks, group 3", 3 * 128 * MiB],
  ["ext4 with 4 KiB blocks, group 5", 5 * 128 * MiB],
  ["ext4 with 2 KiB blocks, group 1", 32 * MiB],
  ["ext4 with 1 KiB blocks, group 1", 8 * MiB + KiB],
  ["ext4 with 1 KiB blocks, group 9", 9 * 8 * MiB + KiB],
  ["xfs, allocation group 1 of 4", Math.floor(ODD_SIZE / 4 / 4096) * 4096],
  ["xfs, allocation group 3 of 4", 3 * Math.floor(ODD_SIZE / 4 / 4096) * 4096],
])("a lone backup superblock of %s keeps a disk from being blank", async (_, offset) => {
  const box = sandbox();
  const disk = box.disk(ODD_SIZE);
  edit(disk, (image) => writeAt(image, offset, randomBytes(512)));
  await expectRefused(box, deviceOf(disk), { code: "unknown" });
});

test.each([0, 512, 4096, 1 * MiB, 2 * MiB - 1, 64 * MiB + 4095, GiB - MiB, GiB - 1])(
  "one byte at %d keeps a disk from being blank, and its place is said",
  async (offset) => {
    const box = sandbox();
    const disk = box.disk(GiB);
    edit(disk, (image) => writeAt(image, offset, Buffer.from([0x80])));
    const report = await expectRefused(box, deviceOf(disk), { code: "unknown" });
    expect(report.verdict).toBe("unknown");
  },
);

test("the message of an unknown disk says where the first byte is", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  edit(disk, (image) => writeAt(image, 12288, Buffer.from([7])));
  await expectRefused(box, deviceOf(disk), { code: "unknown", names: [/12288|0x3000|12 KiB/i] });
});

test("random bytes are refused", async () => {
  const box = sandbox();
  const disk = box.disk(256 * MiB);
  edit(disk, (image) => writeAt(image, 0, randomBytes(256 * MiB)));
  await expectRefused(box, deviceOf(disk), { code: "unknown" });
});

test("a Btrfs of two devices is refused on each of them", async () => {
  const box = sandbox();
  const [one, two] = [box.disk(GiB), box.disk(GiB)];
  command("mkfs.btrfs", "--quiet", one.device, two.device);
  for (const disk of [one, two]) {
    await expectRefused(box, deviceOf(disk), { code: "multi-device", device: disk.device });
    await expectRefused(box, [...deviceOf(disk), "--format", "any", "--repair", "always"], {
      code: "multi-device",
    });
  }
});

test.each([512, 4096, 300 * MiB])(
  "a device smaller than its filesystem by %d bytes is refused, both sizes named",
  async (less) => {
    const box = sandbox();
    const disk = await preparedDisk(box);
    box.detach(disk.device);
    resize(disk.image, GiB - less);
    const device = box.attach(disk.image);
    await expectRefused(box, ["--device", device], {
      code: "shrunk",
      names: [
        new RegExp(`${GiB}|1(\\.0+)? ?GiB`),
        new RegExp(`${GiB - less}|\\d+(\\.\\d+)? ?[MG]iB`),
      ],
    });
    await expectRefused(box, ["--device", device, "--format", "any", "--repair", "always"], {
      code: "shrunk",
    });
    box.detach(device);
    resize(disk.image, GiB);
    await up(box, "--device", box.attach(disk.image));
    expect(markerIsThere(box)).toBeTrue();
  },
);

test("an image that was truncated below its filesystem is refused, whatever --size says, until its size is back", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  box.detach(disk.device);
  resize(disk.image, 512 * MiB);
  await expectRefused(box, ["--image", disk.image], { code: "shrunk" });
  await expectRefused(box, ["--image", disk.image, "--size", "1G"], { code: "shrunk" });
  resize(disk.image, GiB);
  await up(box, "--image", disk.image);
  expect(markerIsThere(box)).toBeTrue();
});

test.each([
  ["the disk", "--device"],
  ["the image", "--image"],
])("50 MiB are too small: %s stays as it is", async (_, option) => {
  const box = sandbox();
  const { image, device } = box.disk(50 * MiB);
  if (option === "--image") box.detach(device);
  await expectRefused(box, [option, option === "--image" ? image : device], { code: "too-small" });
});

test.each([512, 4096, 64 * KiB, 70 * KiB])("a disk of %d bytes is too small", async (sizeBytes) => {
  const box = sandbox();
  await expectRefused(box, deviceOf(box.disk(sizeBytes)), { code: "too-small" });
});

type Maker = (box: Sandbox) => Disk | Promise<Disk>;

const ext4: Maker = (box) => {
  const disk = box.disk(GiB);
  command("mkfs.ext4", "-q", "-F", disk.device);
  return disk;
};
const randomHead: Maker = (box) => {
  const disk = box.disk(GiB);
  edit(disk, (image) => writeAt(image, 0, randomBytes(MiB)));
  return disk;
};

test.each<[string, Maker]>([
  ["foreign", ext4],
  ["unknown", randomHead],
])("--format any formats what is %s", async (verdict, make) => {
  const box = sandbox();
  const disk = await make(box);
  flush(disk.device);
  const report = await up(box, ...deviceOf(disk), "--format", "any");
  expect(report).toMatchObject({ outcome: "changed", verdict });
  expectMounted(box.root);
});

test("--format any never formats a volume", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  const first = await up(box, ...deviceOf(disk), "--format", "any");
  expect(first.verdict).toBe("btrfs");
  const again = await up(box, ...deviceOf(disk), "--format", "any");
  expect(again.verdict).toBe("mounted");
  expect(markerIsThere(box)).toBeTrue();
});

test("--format never refuses a blank disk", async () => {
  const box = sandbox();
  await expectRefused(box, [...deviceOf(box.disk(GiB)), "--format", "never"], { code: "blank" });
});

test("--format never goes on with a volume", async () => {
  const box = sandbox();
  const disk = await preparedDisk(box);
  await up(box, ...deviceOf(disk), "--format", "never");
  expect(markerIsThere(box)).toBeTrue();
});

test("the kernel command line sets the format policy, and a flag beats it", async () => {
  const box = sandbox();
  addToCommandLine(box, "arcbox.data_format=never");
  const disk = box.disk(GiB);
  await expectRefused(box, deviceOf(disk), { code: "blank" });
  await up(box, ...deviceOf(disk), "--format", "blank");
  expectMounted(box.root);
});

test("arcbox.data_format=any formats a foreign disk, --format blank refuses it", async () => {
  const box = sandbox();
  addToCommandLine(box, "arcbox.data_format=any");
  const disk = await ext4(box);
  flush(disk.device);
  await expectRefused(box, [...deviceOf(disk), "--format", "blank"], { code: "foreign" });
  await up(box, ...deviceOf(disk));
  expectMounted(box.root);
});

test("a policy on the kernel command line that does not exist never formats anything foreign", async () => {
  const box = sandbox();
  addToCommandLine(box, "arcbox.data_format=anything");
  const disk = await ext4(box);
  flush(disk.device);
  const before = fingerprint(disk.image);
  await fails(volume(box, "up", deviceOf(disk)), "foreign", "usage");
  expect(fingerprint(disk.image)).toBe(before);
});
