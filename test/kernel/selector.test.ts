import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { flipByte, GiB, writeAt, zeroAt } from "../kit/image.ts";
import { expectRefused } from "../kit/refusal.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { at, MIRROR, PRIMARY, superblockFacts } from "../kit/superblock.ts";
import { btrfsDisk, expectMounted, markerIsThere, prepare } from "../kit/volume.ts";

const sandbox = useSandbox();

/** No other volume of the machine has it: names on disks are looked for everywhere. */
const uniqueLabel = (): string => `test-${crypto.randomUUID().slice(0, 13)}`;

/** A volume with this label that holds a file. */
async function labelled(box: Sandbox, label: string): Promise<Disk> {
  const disk = btrfsDisk(box, GiB, "--label", label);
  await prepare(box, disk);
  return disk;
}

const uuidOf = ({ image }: Disk): string => superblockFacts(image).uuid;

/** Bytes of the image changed behind the back of the loop device. */
function damage({ image, device }: Disk, edit: (image: string) => void): void {
  edit(image);
  command("blockdev", "--flushbufs", device);
}

test.each<[string, (disk: Disk, label: string) => string]>([
  ["label=NAME", (_, label) => `label=${label}`],
  ["uuid=UUID", (disk) => `uuid=${uuidOf(disk)}`],
  ["uuid= in capitals", (disk) => `uuid=${uuidOf(disk).toUpperCase()}`],
])("%s finds the volume among several disks", async (_, selector) => {
  const box = sandbox();
  const label = uniqueLabel();
  box.disk(GiB);
  const disk = await labelled(box, label);
  btrfsDisk(box, GiB, "--label", uniqueLabel());
  const device = selector(disk, label);
  const report = await up(box, "--device", device);
  expect(report).toMatchObject({ device: disk.device, uuid: uuidOf(disk) });
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  expect(await status(box, ["--device", device])).toMatchObject({
    state: "up",
    device: disk.device,
  });
  expect((await up(box, "--device", device)).outcome).toBe("unchanged");
  await down(box, "--device", device);
});

test("finds the volume again when its disk has another name", async () => {
  const box = sandbox();
  const label = uniqueLabel();
  const disk = await labelled(box, label);
  box.detach(disk.device);
  box.disk(GiB);
  const device = box.attach(disk.image);
  expect((await up(box, "--device", `label=${label}`)).device).toBe(device);
  expect(markerIsThere(box)).toBeTrue();
});

test("a label with spaces, quotes and letters of any script", async () => {
  const box = sandbox();
  const label = `${uniqueLabel()} "däta" 数据`;
  const disk = await labelled(box, label);
  expect((await up(box, "--device", `label=${label}`)).device).toBe(disk.device);
});

test("a label is compared as a whole", async () => {
  const box = sandbox();
  const label = uniqueLabel();
  await labelled(box, label);
  await fails(
    volume(box, "up", ["--device", `label=${label.slice(0, -1)}`, "--wait", "0"]),
    "device-missing",
  );
});

const commands = ["up", "plan", "down"] as const;

test.each(commands)("two disks of the same label are ambiguous: %s lists both", async (verb) => {
  const box = sandbox();
  const label = uniqueLabel();
  const disks = [btrfsDisk(box, GiB, "--label", label), btrfsDisk(box, GiB, "--label", label)];
  const run = volume(box, verb, ["--device", `label=${label}`]);
  const error = await fails(run, "device-ambiguous");
  expect((await run).exitCode).toBe(3);
  for (const disk of disks) {
    expect(error.message).toContain(disk.device);
    expect(error.message).toContain(uuidOf(disk));
  }
});

test("a copy of a disk has the same UUID, which is ambiguous and touches neither", async () => {
  const box = sandbox();
  const disk = btrfsDisk(box, GiB);
  const copy = box.path("copy.img");
  command("cp", "--sparse=always", disk.image, copy);
  const second = box.attach(copy);
  await expectRefused(box, ["--device", `uuid=${uuidOf(disk)}`], {
    code: "device-ambiguous",
    names: [disk.device, second],
  });
});

test.each([
  ["label", (): string => uniqueLabel()],
  ["uuid", (): string => crypto.randomUUID()],
  ["serial", (): string => uniqueLabel()],
] as const)("%s= that no disk has is missing, and lists what was seen", async (key, value) => {
  const box = sandbox();
  const blank = box.disk(GiB);
  const disk = btrfsDisk(box, GiB, "--label", uniqueLabel());
  const text = `${key}=${value()}`;
  for (const verb of commands) {
    const run = volume(box, verb, ["--device", text, "--wait", "0"]);
    const error = await fails(run, "device-missing");
    expect((await run).exitCode).toBe(3);
    expect(error.message).toContain(text);
    expect(error.message).toContain(blank.device);
    expect(error.message).toContain(disk.device);
    if (key !== "serial") expect(error.message).toContain(uuidOf(disk));
  }
});

test.each(["label=", "uuid=", "serial="])("%s without a value is a usage error", async (text) => {
  const box = sandbox();
  const run = await volume(box, "plan", ["--device", text]);
  expect(run.exitCode).toBe(2);
  expect(run.report.error?.code).toBe("usage");
});

test("a disk appears while it is waited for by its label", async () => {
  const box = sandbox();
  const label = uniqueLabel();
  const disk = await labelled(box, label);
  box.detach(disk.device);
  const running = up(box, "--device", `label=${label}`, "--wait", "20");
  await Bun.sleep(300);
  const device = box.attach(disk.image);
  const report = await running;
  expect(report.device).toBe(device);
  expect(report.ms).toBeLessThan(10_000);
});

test("a disk named by its UUID is never formatted, also when it was wiped, with --format any", async () => {
  const box = sandbox();
  const disk = await labelled(box, uniqueLabel());
  const uuid = uuidOf(disk);
  damage(disk, (image) => zeroAt(image, PRIMARY + at.magic, 8));
  for (const how of [`uuid=${uuid}`, `label=${superblockFacts(disk.image, MIRROR).label}`]) {
    await expectRefused(box, ["--device", how, "--format", "any"], { code: "wiped" });
  }
  const report = await up(box, "--device", `uuid=${uuid}`, "--repair", "always");
  expect(report.uuid).toBe(uuid);
  expect(markerIsThere(box)).toBeTrue();
});

const withoutName: readonly (readonly [string, (image: string) => void])[] = [
  ["zeroed", (image) => zeroAt(image, PRIMARY, 4096)],
  ["full of something else", (image) => writeAt(image, PRIMARY, Buffer.alloc(4096, 0x5a))],
];

test.each(withoutName)(
  "a mirror alone does not say which disk this is: a primary that is %s",
  async (_, edit) => {
    const box = sandbox();
    const disk = await labelled(box, uniqueLabel());
    const uuid = uuidOf(disk);
    damage(disk, (image) => {
      edit(image);
      flipByte(image, 1000);
    });
    for (const how of [`uuid=${uuid}`, `label=${superblockFacts(disk.image, MIRROR).label}`]) {
      const args = ["--device", how, "--repair", "always", "--format", "any", "--wait", "0"];
      await expectRefused(box, args, { code: "device-missing", device: disk.device });
    }
    const report = await up(box, "--device", disk.device, "--repair", "always");
    expect(report.uuid).toBe(uuid);
    expect(markerIsThere(box)).toBeTrue();
  },
);

test("a disk named by its UUID whose place a partition table took is refused, not formatted", async () => {
  const box = sandbox();
  const disk = await labelled(box, uniqueLabel());
  const uuid = uuidOf(disk);
  const script = box.path("sfdisk");
  await Bun.write(script, "label: gpt\nsize=100M\n");
  command("sh", "-c", `sfdisk --force --quiet '${disk.device}' < '${script}'`);
  await expectRefused(box, ["--device", `uuid=${uuid}`, "--format", "any"], { code: "foreign" });
});

test.each(["label", "uuid"] as const)(
  "a disk whose first superblock is damaged is found by the mirror's %s, and repaired",
  async (key) => {
    const box = sandbox();
    const label = uniqueLabel();
    const disk = await labelled(box, label);
    const uuid = uuidOf(disk);
    damage(disk, (image) => flipByte(image, PRIMARY + at.label));
    const selector = key === "label" ? `label=${label}` : `uuid=${uuid}`;
    expect(await status(box, ["--device", selector])).toMatchObject({
      device: disk.device,
      verdict: "damaged",
      uuid,
    });
    expect((await plan(box, "--device", selector)).verdict).toBe("damaged");
    const report = await up(box, "--device", selector);
    expect(report).toMatchObject({ device: disk.device, verdict: "damaged", uuid });
    expect(stepOutcomes(report).filesystem).toBe("changed");
    expect(markerIsThere(box)).toBeTrue();
  },
);

test("a stale mirror under another filesystem does not lend it its name", async () => {
  const box = sandbox();
  const label = uniqueLabel();
  const disk = await labelled(box, label);
  command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", disk.device);
  const { report } = await volume(box, "up", ["--device", `label=${label}`, "--wait", "0"]);
  expect(["foreign", "device-missing"]).toContain(report.error?.code ?? "none");
  expect(readFileSync("/proc/mounts", "utf8")).not.toContain(disk.device);
});
