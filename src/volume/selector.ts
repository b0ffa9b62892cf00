import {
  copyOffsets,
  isValidCopy,
  mirrorOffsets,
  parseSuperblock,
  primaryOffset,
  type Superblock,
  superblockBytes,
  superblockMagic,
} from "../btrfs/superblock.ts";
import { devicePath, deviceSizeBytes } from "../linux/block-device.ts";
import { isAllZero } from "../linux/bytes.ts";
import { Deadline } from "../linux/deadline.ts";
import { SystemError } from "../linux/errno.ts";
import { namesIn, readExactly, readTextOrNull, withFd } from "../linux/files.ts";
import { type Kernel, O_NONBLOCK, O_RDONLY } from "../linux/kernel.ts";
import { servedFiles } from "../linux/served-files.ts";
import { utf8 } from "../linux/text.ts";
import { deviceDisk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { diskAnswers } from "./silent-disk.ts";
import { sizeText } from "./size.ts";
import { judge, type Verdict } from "./verdict.ts";

/** Disk names swap between boots; these do not. */
const keys = ["serial", "uuid", "label"] as const;

export interface Selector {
  readonly by: (typeof keys)[number];
  readonly value: string;
}

export const selectorText = ({ by, value }: Selector): string => `${by}=${value}`;

/** What fstab(5) knows beside UUID= and LABEL=; udev makes a link for each, in these folders of /dev/disk. */
const partitionFolders: ReadonlyMap<string, string> = new Map([
  ["partuuid", "by-partuuid"],
  ["partlabel", "by-partlabel"],
]);

/** As udev writes a name in /dev/disk: what is neither harmless ASCII nor UTF-8 by its bytes, "\x20". */
const encodedByUdev = (name: string): string =>
  name.replaceAll(/[^#+\-.:=@_0-9A-Za-z\u{80}-\u{d7ff}\u{e000}-\u{10ffff}]/gu, (character) =>
    [...utf8(character)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""),
  );

/**
 * "serial=ID", "uuid=UUID", "label=NAME", or in capitals as in fstab(5); null for a path. Throws `usage`
 * for an empty value; `option` is what it was given with.
 */
export function parseSelector(text: string, option = "--device"): Selector | null {
  const equals = text.indexOf("=");
  if (equals < 0) return null;
  const name = text.slice(0, equals);
  const value = text.slice(equals + 1);
  const word = name === name.toUpperCase() ? name.toLowerCase() : name;
  const folder = partitionFolders.get(word);
  if (folder !== undefined) {
    const link = encodedByUdev(word === "partuuid" ? value.toLowerCase() : value);
    throw new VolumeError("usage", `${option} ${text} names a partition, not a filesystem`, {
      hint: `give its path: /dev/disk/${folder}/${link}`,
    });
  }
  const key = keys.find((candidate) => candidate === word);
  if (key === undefined) return null;
  if (value === "") throw new VolumeError("usage", `${option} ${name}= needs a value`);
  return { by: key, value };
}

/** A block device and by what it can be told from others. */
interface Seen {
  readonly path: string;
  /** Why it was not looked at: nothing else is known of it then. */
  readonly unseen?: string;
  readonly sizeBytes: number;
  readonly serial: string | null;
  readonly superblock: Superblock | null;
}

/** A mounted filesystem writes its superblock, and a read may meet one half written: it is read again. */
const readAttempts = 5;

function readCopy(kernel: Kernel, fd: number, offset: number): Superblock | null {
  const block = new Uint8Array(new ArrayBuffer(superblockBytes));
  return readExactly(kernel, fd, block, offset) ? parseSuperblock(block) : null;
}

/**
 * The superblock by which a disk may be called a Btrfs: its primary. A mirror lies where another
 * filesystem keeps the files of its users, who can write one: it counts only where the verdict says
 * that it belongs to the damaged primary.
 */
function ownSuperblock(kernel: Kernel, fd: number, sizeBytes: number): Superblock | null {
  if (!copyOffsets(sizeBytes).includes(primaryOffset)) return null;
  let primary = readCopy(kernel, fd, primaryOffset);
  for (let attempt = 1; primary?.magic === superblockMagic && attempt <= readAttempts; attempt++) {
    if (isValidCopy(primary, primaryOffset)) return primary;
    primary = readCopy(kernel, fd, primaryOffset);
  }
  // The verdict takes many reads, and most disks are no Btrfs at all.
  if (primary === null || isAllZero(primary.block) || !Number.isSafeInteger(sizeBytes)) return null;
  const hasMirror = mirrorOffsets
    .filter((offset) => copyOffsets(sizeBytes).includes(offset))
    .some((offset) => readCopy(kernel, fd, offset)?.magic === superblockMagic);
  const isErased = primary.magic === 0n;
  return hasMirror || isErased
    ? superblockOf(judge(deviceDisk(kernel, fd, sizeBytes), null, { extent: "ends" }))
    : null;
}

/** The filesystem that a verdict names without doubt. */
function superblockOf(verdict: Verdict): Superblock | null {
  if ("superblock" in verdict) return verdict.superblock;
  return verdict.kind === "damaged" || verdict.kind === "wiped" ? verdict.mirror : null;
}

/** Length of the header of the page "unit serial number" (SPC-4, 7.8.15); the number follows, in ASCII. */
const serialPageHeader = 4;

/** The serial number in sysfs: of a virtio disk, of NVMe, of a SCSI or SATA disk. */
const serialOf = (kernel: Kernel, folder: string): string | null =>
  readTextOrNull(kernel, `${folder}/serial`) ??
  readTextOrNull(kernel, `${folder}/device/serial`) ??
  readTextOrNull(kernel, `${folder}/device/vpd_pg80`)?.slice(serialPageHeader).trim() ??
  null;

/** What can be seen of an open device; null when it has no medium. */
function lookAtOpen(
  kernel: Kernel,
  fd: number,
  name: string,
  withSuperblock: boolean,
): Seen | null {
  const sizeBytes = deviceSizeBytes(kernel, fd);
  if (sizeBytes === 0) return null;
  const serial = serialOf(kernel, `/sys/class/block/${name}`);
  const superblock = withSuperblock ? ownSuperblock(kernel, fd, sizeBytes) : null;
  return { path: devicePath(name), sizeBytes, serial, superblock };
}

const unseen = (name: string, why: string): Seen => ({
  path: devicePath(name),
  sizeBytes: 0,
  serial: null,
  superblock: null,
  unseen: why,
});

/** So long all disks together may take to answer; each has its moment even when that is over. */
const allAnswerMs = 1000;
const leastAnswerMs = 100;

/** The same of a device by its name, its superblock too where it is `until` then to answer; null also when it cannot be read. */
function lookAt(kernel: Kernel, name: string, until: Deadline | null): Seen | null {
  try {
    const fd = kernel.open(devicePath(name), O_RDONLY | O_NONBLOCK);
    return withFd(kernel, fd, () => {
      if (until !== null) {
        const waitMs = Math.max(leastAnswerMs, until.leftMs);
        const sizeBytes = deviceSizeBytes(kernel, fd);
        if (sizeBytes > 0 && !diskAnswers(kernel, fd, sizeBytes, waitMs)) {
          return unseen(name, "does not answer");
        }
      }
      return lookAtOpen(kernel, fd, name, until !== null);
    });
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

const seenText = ({ path, sizeBytes, serial, superblock, unseen }: Seen): string => {
  if (unseen !== undefined) return `${path} (${unseen})`;
  const facts = [sizeText(sizeBytes)];
  if (serial !== null && serial !== "") facts.push(`serial=${serial}`);
  if (superblock !== null) facts.push(`uuid=${superblock.fsid}`, `label=${superblock.label}`);
  return `${path} (${facts.join(", ")})`;
};

function matches({ by, value }: Selector, { serial, superblock }: Seen): boolean {
  switch (by) {
    case "serial":
      return serial === value;
    case "uuid":
      return superblock?.fsid === value.toLowerCase();
    case "label":
      return superblock?.label === value;
  }
}

const needsSuperblock = ({ by }: Selector): boolean => by !== "serial";

/**
 * All devices there are, of those that can be read. A loop device whose file somebody serves is not read: when that
 * one falls silent, who has begun to read cannot even be killed.
 */
function devices(kernel: Kernel, selector: Selector): readonly Seen[] {
  const servedBy = servedFiles(kernel);
  const until = new Deadline(kernel, allAnswerMs);
  return namesIn(kernel, "/sys/class/block")
    .sort()
    .map((name): Seen | null => {
      const mount = needsSuperblock(selector) ? servedBy(name) : null;
      if (mount === null) return lookAt(kernel, name, needsSuperblock(selector) ? until : null);
      return unseen(name, `on ${mount.type}: not looked at, name it by its path`);
    })
    .filter((seen) => seen !== null);
}

/** Another filesystem or a partition table owns the disk, whatever stands where Btrfs has its superblock. */
function isForeign(kernel: Kernel, { path, sizeBytes }: Seen): boolean {
  if (!Number.isSafeInteger(sizeBytes)) return false;
  try {
    return withFd(kernel, kernel.open(path, O_RDONLY | O_NONBLOCK), (fd) => {
      const { kind } = judge(deviceDisk(kernel, fd, sizeBytes), null, { extent: "ends" });
      return kind === "foreign";
    });
  } catch (error) {
    if (error instanceof SystemError) return true;
    throw error;
  }
}

/**
 * The path of the one device that a selector means; null when none does. Throws
 * `device-ambiguous` when more than one does: which of them is not for us to say.
 */
export function selectDevice(kernel: Kernel, selector: Selector): string | null {
  const all = devices(kernel, selector).filter((seen) => matches(selector, seen));
  const isDoubtful = all.length > 1 && needsSuperblock(selector);
  const own = isDoubtful ? all.filter((seen) => !isForeign(kernel, seen)) : all;
  const found = own.length === 0 ? all : own;
  if (found.length > 1) {
    const what = `${selectorText(selector)} matches ${found.length} disks`;
    throw new VolumeError("device-ambiguous", `${what}: ${found.map(seenText).join("; ")}`, {
      hint: "take one of them away, or name one by its path",
    });
  }
  return found[0]?.path ?? null;
}

/** Whether an open device ("vdb") is one that a selector means. */
export function isSelected(kernel: Kernel, selector: Selector, fd: number, name: string): boolean {
  const seen = lookAtOpen(kernel, fd, name, needsSuperblock(selector));
  return seen !== null && matches(selector, seen);
}

/** Every disk there is, in words, for the message that none was meant. */
export function seenDisks(kernel: Kernel, selector: Selector): string {
  const seen = devices(kernel, selector).map(seenText);
  return seen.length === 0 ? "no disk was seen" : `seen: ${seen.join("; ")}`;
}
