import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { SystemError } from "../../../src/linux/errno.ts";
import { withFd } from "../../../src/linux/files.ts";
import { O_RDONLY, O_RDWR } from "../../../src/linux/kernel.ts";
import { linuxKernel } from "../../../src/linux/linux-kernel.ts";
import { utf8 } from "../../../src/linux/text.ts";
import { deviceDisk } from "../../../src/volume/disk.ts";
import { rebuildPrimary } from "../../../src/volume/rebuilt-primary.ts";
import { judge, type Verdict } from "../../../src/volume/verdict.ts";
import { depth } from "../../kit/depth.ts";
import { MiB, readAt, writeAt } from "../../kit/image.ts";
import { dropCache } from "../../kit/libc.ts";
import {
  bytesIn,
  type FieldName,
  fields,
  mirrorPlaces,
  number,
  primaryPlace,
  sealed,
  superblockBytes,
  withNumber,
} from "../../kit/own-superblock.ts";
import { Random } from "../../kit/random.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { btrfsDisk } from "../../kit/volume.ts";

/**
 * The verdict against the judge that counts: what it calls Btrfs the kernel mounts, unless a field is
 * wrong that only the kernel can check, and what it calls damaged the kernel refuses.
 */

const sandbox = useSandbox();
const kernel = linuxKernel();

const sizeBytes = 256 * MiB;
const casesOfChecksum = depth(50, 500);
const seed = 20_260_102;

/**
 * Fields that the kernel checks beyond magic, address and checksum (fs/btrfs/disk-io.c,
 * btrfs_validate_super; volumes.c, read_one_dev and btrfs_verify_dev_items), or follows into trees
 * that are then not what the superblock says.
 */
const checkedByKernelAlone: ReadonlySet<FieldName> = new Set([
  "fsid",
  "flags",
  "generation",
  "root",
  "chunkRoot",
  "logRoot",
  "totalBytes",
  "bytesUsed",
  "deviceCount",
  "sectorSize",
  "nodeSize",
  "leafSize",
  "stripeSize",
  "chunkArrayBytes",
  "chunkRootGeneration",
  "incompat",
  "checksumType",
  "rootLevel",
  "chunkRootLevel",
  "logRootLevel",
  "deviceId",
  "deviceUuid",
  "deviceFsid",
  "chunkArray",
] as const);

const fieldNames = (Object.keys(fields) as FieldName[]).filter(
  (name) => !["checksum", "magic", "bytenr"].includes(name),
);
const extremes = [0n, 1n, 2n, 7n, 8n, 4096n, 65_536n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];

interface Case {
  readonly what: string;
  /** Null where the checksum or the address is wrong too. */
  readonly field: FieldName | null;
  readonly primary: Uint8Array;
  /** Null: it stays. */
  readonly mirror: Uint8Array | null;
}

function fieldCase(random: Random, sound: Uint8Array): Case {
  const field = random.pick(fieldNames);
  const [offset, width] = fields[field];
  let primary: Uint8Array;
  if (width <= 8 && !random.chance(3)) {
    const value = random.chance(2)
      ? random.pick(extremes)
      : number(sound, field) + random.pick([-1n, 1n, 512n, 4096n]);
    primary = withNumber(sound, field, value);
  } else {
    primary = sound.slice();
    const at = offset + random.below(width);
    primary[at] = (primary[at] ?? 0) ^ (1 << random.below(8));
  }
  return { what: `${field} changed`, field, primary: sealed(primary), mirror: null };
}

function damageCase(random: Random, sound: Uint8Array, mirror: Uint8Array): Case {
  const flipped = sound.slice();
  const at = random.below(superblockBytes);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  const run = sound.slice().fill(random.pick([0, 0xff, 0x5a]), at, at + 1 + random.below(600));
  const wiped = sound.slice();
  bytesIn(wiped, "magic").fill(0);
  const [what, primary] = random.pick([
    [`byte ${at} flipped`, flipped],
    [`a run at ${at} filled`, run],
    ["the mirror as it is", mirror],
    ["zeros", new Uint8Array(superblockBytes)],
    ["wiped", wiped],
    ["another address", sealed(withNumber(sound, "bytenr", BigInt(random.pick(mirrorPlaces))))],
    ["another magic", sealed(withNumber(sound, "magic", number(sound, "magic") ^ 1n))],
  ] as const);
  const lost = random.chance(4);
  return {
    what: lost ? `${what}, no mirror` : what,
    field: null,
    primary,
    mirror: lost ? new Uint8Array(superblockBytes) : null,
  };
}

const FORGET_DEVICE = 0x50009405;
const MS_RDONLY = 1;

/** What the kernel has seen of the device before must not answer for it now. */
function forget(device: string): void {
  dropCache(device);
  const argument = new Uint8Array(new ArrayBuffer(4096));
  argument.set(utf8(device), 8);
  try {
    withFd(kernel, kernel.open("/dev/btrfs-control", O_RDWR), (fd) =>
      kernel.ioctl(fd, FORGET_DEVICE, argument),
    );
  } catch (error) {
    // It has not seen it.
    if (!(error instanceof SystemError)) throw error;
  }
}

/** Mounts read-only and unmounts; null, or why the kernel would not. */
function refusalOfKernel({ device }: Disk, target: string): SystemError | null {
  forget(device);
  try {
    kernel.mount(device, target, "btrfs", MS_RDONLY, "");
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
  }
  kernel.unmount(target, 0);
  return null;
}

const verdictOf = ({ device }: Disk): Verdict => {
  forget(device);
  return withFd(kernel, kernel.open(device, O_RDONLY), (fd) =>
    judge(deviceDisk(kernel, fd, sizeBytes), null),
  );
};

/** A claim that does not hold, or null. */
function contradiction(disk: Disk, target: string, { what, field }: Case): string | null {
  const verdict = verdictOf(disk);
  const refusal = refusalOfKernel(disk, target);
  if (verdict.kind === "btrfs") {
    const isExplained = field !== null && checkedByKernelAlone.has(field);
    return refusal === null || isExplained ? null : `${what}: btrfs, but ${refusal.message}`;
  }
  if (refusal === null) {
    // The kernel believes the tree of chunks more than these two fields; a data volume must agree.
    const isStricter = verdict.kind === "shrunk" || verdict.kind === "multi-device";
    const isForged = field === "deviceBytes" || field === "deviceCount";
    return isStricter && isForged ? null : `${what}: ${verdict.kind}, but the kernel mounts it`;
  }
  if (verdict.kind !== "damaged" && verdict.kind !== "wiped") return null;
  // What the repair would write, the kernel takes.
  const { superblock } = rebuildPrimary(verdict.primary, verdict.mirror);
  writeAt(disk.image, primaryPlace, superblock.block);
  const stillRefused = refusalOfKernel(disk, target);
  return stillRefused === null ? null : `${what}: repaired, but ${stillRefused.message}`;
}

function used(box: Sandbox, checksum: string): Disk {
  const disk = btrfsDisk(box, sizeBytes, "--checksum", checksum);
  const top = box.mount(disk.device, "used", "-o", "noatime");
  writeFileSync(`${top}/file`, "something");
  box.umount(top);
  return disk;
}

test.each(["crc32c", "xxhash", "sha256", "blake2"])(
  `${casesOfChecksum} changed superblocks of %s are to the kernel what they are called`,
  (checksum) => {
    const box = sandbox();
    const random = new Random(seed);
    const disk = used(box, checksum);
    const target = box.folder("target");
    const sound = new Uint8Array(readAt(disk.image, primaryPlace, superblockBytes));
    const mirror = new Uint8Array(readAt(disk.image, mirrorPlaces[0], superblockBytes));
    expect(verdictOf(disk).kind).toBe("btrfs");
    expect(refusalOfKernel(disk, target)).toBeNull();

    const wrong: string[] = [];
    for (let i = 0; i < casesOfChecksum; i++) {
      const one = random.chance(2) ? fieldCase(random, sound) : damageCase(random, sound, mirror);
      writeAt(disk.image, primaryPlace, one.primary);
      if (one.mirror !== null) writeAt(disk.image, mirrorPlaces[0], one.mirror);
      const found = contradiction(disk, target, one);
      if (found !== null) wrong.push(`seed ${seed}, case ${i}: ${found}`);
      writeAt(disk.image, primaryPlace, sound);
      writeAt(disk.image, mirrorPlaces[0], mirror);
    }
    expect(wrong).toEqual([]);
    // The disk itself came through it all.
    expect(refusalOfKernel(disk, target)).toBeNull();
  },
  depth(60_000, 600_000),
);
