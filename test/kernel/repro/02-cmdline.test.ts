import { expect, test } from "bun:test";
import { down, fails, plan, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { flipByte, fingerprint, GiB, MiB, nonZeroBlocks } from "../../kit/image.ts";
import { addToCommandLine } from "../../kit/kernel-command-line.ts";
import { ownDev } from "../../kit/own-dev.ts";
import { expectRefused } from "../../kit/refusal.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { at, PRIMARY } from "../../kit/superblock.ts";
import { btrfsDisk, markerIsThere, prepare } from "../../kit/volume.ts";

const sandbox = useSandbox();
const KEY = "arcbox.docker_data_device=";

/** A volume of this label, and a blank disk that is the default one. */
async function labelledAndDefault(box: Sandbox, label: string): Promise<readonly [Disk, Disk]> {
  const disk = btrfsDisk(box, 512 * MiB, "--label", label);
  await prepare(box, disk);
  const scratch = box.disk(512 * MiB);
  ownDev(box, { vdb: scratch.device });
  return [disk, scratch];
}

const unique = (): string => crypto.randomUUID().slice(0, 8);

test.each([
  ["the parameter in quotes, as GRUB writes it", (label: string) => `"${KEY}label=${label}"`],
  ["the value in quotes", (label: string) => `${KEY}"label=${label}"`],
  ["in capitals, as in fstab", (label: string) => `"${KEY}LABEL=${label}"`],
  ["behind one without a value", (label: string) => `${KEY} "${KEY}label=${label}"`],
])("a label with a space is found: %s", async (_, words) => {
  const box = sandbox();
  const label = `my ${unique()} data`;
  const [disk, scratch] = await labelledAndDefault(box, label);
  addToCommandLine(box, words(label));
  expect((await up(box)).device).toBe(disk.device);
  expect(markerIsThere(box)).toBeTrue();
  await down(box);
  expect(nonZeroBlocks(scratch.image)).toBeEmpty();
});

test("a path in quotes is the path between them", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  addToCommandLine(box, `${KEY}"${device}"`);
  expect((await plan(box)).device).toBe(device);
});

test("a name with two spaces, and a path with one", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const link = box.path("my  disk");
  command("ln", "--symbolic", device, link);
  addToCommandLine(box, `"${KEY}${link}"`);
  expect((await plan(box)).device).toBe(link);
});

test.each([
  ["nothing", KEY],
  ["nothing in quotes", `${KEY}""`],
  ["a blank", `"${KEY} "`],
  ["no equals sign", KEY.slice(0, -1)],
  ["single quotes, which protect nothing", `${KEY}'label=my data'`],
  ["a quote that is never closed", `${KEY}"label=my data`],
  ["a quote before it that is never closed", `foo="bar ${KEY}/dev/vdc`],
  ["a name without a folder", `${KEY}vdb`],
  ["an empty label", `${KEY}label=`],
  ["an unknown selector", `${KEY}lable=data`],
  ["a partition, as in fstab", `${KEY}PARTLABEL=data`],
])(
  "a parameter that names no disk is wrong usage, and never the default disk: %s",
  async (_, words) => {
    const box = sandbox();
    const scratch = box.disk(GiB);
    ownDev(box, { vdb: scratch.device, arcboxhvc1: scratch.device });
    addToCommandLine(box, words);
    const refused = { code: "usage", names: [KEY] };
    const report = await expectRefused(box, ["--wait", "0"], refused);
    expect(report.device).toBeNull();
    expect((await volume(box, "up", ["--wait", "0"])).exitCode).toBe(2);
    expect(nonZeroBlocks(scratch.image)).toBeEmpty();
  },
);

test("a parameter in another one's quotes is that one's", async () => {
  const box = sandbox();
  const scratch = box.disk(GiB);
  ownDev(box, { arcboxhvc1: scratch.device });
  addToCommandLine(box, `note="not ${KEY}/dev/nothing here"`);
  expect((await plan(box)).device).toBe("/dev/arcboxhvc1");
});

test("--device beats a parameter that cannot be used", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  addToCommandLine(box, KEY);
  expect((await plan(box, "--device", device)).device).toBe(device);
});

test.each([
  ["arcbox.data_format=", "blank, any, never"],
  ["arcbox.data_format=yes", "blank, any, never"],
  ['"arcbox.data_format=never "', "blank, any, never"],
  ["arcbox.data_format", "arcbox.data_format"],
  ["arcbox.data_repair=on", "auto, always, never"],
  ["arcbox.data_repair", "arcbox.data_repair"],
  ["arcbox.data_format=blank arcbox.data_format=any", '"blank" and "any"'],
  ["arcbox.data_format=any arcbox.data-format=never", '"any" and "never"'],
  ["arcbox.data_repair=auto quiet arcbox.data_repair=always", '"auto" and "always"'],
])("a policy that cannot be used is wrong usage: %s", async (words, names) => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  addToCommandLine(box, words);
  await expectRefused(box, ["--device", device], { code: "usage", names: [names] });
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("a policy that is given twice, and both times the same, is that policy", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  addToCommandLine(box, "arcbox.data_format=never quiet arcbox.data_format=never");
  await expectRefused(box, ["--device", device], { code: "blank" });
});

/** A volume whose primary superblock no longer has its checksum. */
async function damagedDisk(box: Sandbox): Promise<Disk> {
  const disk = box.disk(GiB);
  await prepare(box, disk);
  flipByte(disk.image, PRIMARY + at.label);
  command("blockdev", "--flushbufs", disk.device);
  return disk;
}

test("arcbox.data_repair=never refuses a damaged disk, and --repair beats it", async () => {
  const box = sandbox();
  const { device } = await damagedDisk(box);
  addToCommandLine(box, "arcbox.data_repair=never");
  await expectRefused(box, ["--device", device], { code: "damaged", device });
  expect((await up(box, "--device", device, "--repair", "auto")).verdict).toBe("damaged");
  expect(markerIsThere(box)).toBeTrue();
});

test("arcbox.data_repair=always rebuilds what only a person would, unattended", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await prepare(box, disk);
  command("dd", "if=/dev/zero", `of=${disk.device}`, "bs=64K", "seek=1", "count=1", "conv=fsync");
  const before = fingerprint(disk.image);
  const error = await fails(volume(box, "up", ["--device", disk.device]), "ambiguous");
  expect(error.hint).toContain("--repair always");
  expect(fingerprint(disk.image)).toBe(before);
  addToCommandLine(box, 'arcbox.data_repair="always"');
  expect((await up(box, "--device", disk.device)).verdict).toBe("ambiguous");
  expect(markerIsThere(box)).toBeTrue();
});

test("where /proc shows no command line, the default disk is not taken for the one it may name", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  ownDev(box, { arcboxhvc1: device });
  const proc = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t proc -o subset=pid p /proc && exec "$@"',
    "sh",
  ];
  const error = await fails(volume(box, "up", [], { prefix: proc }), "unsupported");
  expect(error.message).toContain("/proc/cmdline");
  expect(nonZeroBlocks(image)).toBeEmpty();
});
