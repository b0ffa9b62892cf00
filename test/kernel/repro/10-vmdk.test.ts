import { expect, test } from "bun:test";
import { copyFileSync, statSync, writeFileSync } from "node:fs";
import { fails, up, volume } from "../../kit/agent.ts";
import { command } from "../../kit/command.ts";
import { fingerprint, flush, MiB, writeAt } from "../../kit/image.ts";
import { attachedLoops } from "../../kit/loops.ts";
import { expectRefused } from "../../kit/refusal.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { markerIsThere, prepare } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** The raw image of a volume that holds a file. */
async function rawVolume(box: Sandbox): Promise<string> {
  const disk = box.disk(256 * MiB);
  await prepare(box, disk);
  box.detach(disk.device);
  return disk.image;
}

const everything = ["--format", "any", "--repair", "always"] as const;

/** Refused by this name whatever is asked for; not a byte of it changes, and its size stays. */
async function expectNoDisk(box: Sandbox, image: string, name: RegExp): Promise<string> {
  const before = [fingerprint(image), statSync(image).size];
  const refused = { code: "foreign", names: [name] };
  await expectRefused(box, ["--image", image], refused);
  await expectRefused(box, ["--image", image, "--size", "1G", ...everything], refused);
  expect([fingerprint(image), statSync(image).size]).toEqual(before);
  expect(attachedLoops(box.dir).size).toBe(0);
  const { message, hint } = await fails(volume(box, "up", ["--image", image]), "foreign");
  expect(message).toContain(image);
  return hint ?? "";
}

/** Does what the hint says, and brings up what comes out. */
async function follow(box: Sandbox, hint: string, image: string): Promise<void> {
  const [, line] = /: ((?:qemu-img|gzip|xz|zstd|bzip2) .*)$/.exec(hint) ?? [];
  expect(line).toBeDefined();
  command("sh", "-c", line ?? "false");
  await up(box, "--image", `${image}.raw`);
  expect(markerIsThere(box)).toBeTrue();
}

test.each([
  ["vmdk", /VMDK/],
  ["qcow2", /qcow2/],
  ["qcow", /qcow/],
  ["vdi", /VDI/],
  ["vhdx", /VHDX/],
  ["qed", /QED/],
  ["parallels", /Parallels/],
  ["vpc", /VHD/],
  ["vpc -o subformat=fixed,force_size", /VHD.*fixed/],
  ["vmdk -o subformat=monolithicFlat", /VMDK/],
  ["vmdk -o subformat=streamOptimized", /VMDK/],
] as const)("a volume in a file of the format %s is that, and no disk", async (format, name) => {
  const box = sandbox();
  const raw = await rawVolume(box);
  const image = box.path("disk image");
  command("qemu-img", "convert", "-f", "raw", "-O", ...format.split(" "), raw, image);
  const hint = await expectNoDisk(box, image, name);
  await follow(box, hint, image);
});

test.each(["gzip", "xz", "bzip2", "zstd"])(
  "a volume that %s packed is an archive, and no disk",
  async (program) => {
    const box = sandbox();
    const image = box.path("packed");
    command("sh", "-c", `${program} -1 -c < '${await rawVolume(box)}' > '${image}'`);
    const hint = await expectNoDisk(box, image, new RegExp(`${program} archive`));
    await follow(box, hint, image);
  },
);

const marks: readonly (readonly [string, string | Uint8Array, number])[] = [
  ["tar", "ustar", 257],
  ["cpio", "070701", 0],
  ["zip", Buffer.from("504b0304", "hex"), 0],
  ["7z", Buffer.from("377abcaf271c", "hex"), 0],
  ["lz4", Buffer.from("04224d18", "hex"), 0],
  ["Apple disk image", "koly", 256 * MiB - 512],
  ["VHD.*fixed", "conectix", 256 * MiB - 512],
  ["Android sparse", Buffer.from("3aff26ed", "hex"), 0],
];

test.each(marks)(
  "a file of the format %s, with a superblock at 64 KiB, is foreign by that name",
  async (name, mark, offset) => {
    const box = sandbox();
    const image = box.path("file");
    copyFileSync(await rawVolume(box), image);
    if (offset > 64 * 1024) {
      // What lies before the filesystem's end belongs to its files, so the mark stands behind it.
      command("truncate", "--size=+4K", image);
      writeAt(image, offset + 4096, Buffer.from(mark));
    } else writeAt(image, offset, Buffer.from(mark));
    await expectNoDisk(box, image, new RegExp(name));
  },
);

test("the footer of an image in the content of a file is no mark of the disk", async () => {
  const box = sandbox();
  const image = await rawVolume(box);
  writeAt(image, 256 * MiB - 512, Buffer.from("conectix"));
  await up(box, "--image", image);
});

test("an image that is attached already is looked at in the same way", async () => {
  const box = sandbox();
  const image = box.path("v.qcow2");
  command("qemu-img", "create", "-q", "-f", "qcow2", image, "1G");
  command("truncate", "--size=128M", image);
  box.attach(image);
  for (const args of [[], ["--format", "any"], ["--size", "1G", "--format", "any"]]) {
    const error = await fails(volume(box, "up", ["--image", image, ...args]), "foreign");
    expect(error.message).toContain("qcow2");
  }
  expect(statSync(image).size).toBe(128 * MiB);
});

test("such bytes on a disk are named, and may be formatted over where that is said", async () => {
  const box = sandbox();
  const { device, image } = box.disk(256 * MiB);
  writeAt(image, 0, Buffer.from("QFI\xfb\0\0\0\x03", "latin1"));
  flush(device);
  await expectRefused(box, ["--device", device], { code: "foreign", names: ["qcow2"] });
  expect((await up(box, "--device", device, "--format", "any")).verdict).toBe("foreign");
});

test("a file of text is unknown, as it was", async () => {
  const box = sandbox();
  const image = box.path("notes");
  writeFileSync(image, "BZh is how I sign my notes\n".repeat(10_000));
  await expectRefused(box, ["--image", image], { code: "unknown" });
});
