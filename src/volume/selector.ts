import {
  copyOffsets,
  isValidCopy,
  parseSuperblock,
  type Superblock,
  superblockBytes,
} from "../btrfs/superblock.ts";
import { devicePath, deviceSizeBytes } from "../linux/block-device.ts";
import { SystemError } from "../linux/errno.ts";
import { namesIn, readExactly, readTextOrNull, withFd } from "../linux/files.ts";
import { type Kernel, O_NONBLOCK, O_RDONLY } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";
import { sizeText } from "./size.ts";

/** Disk names swap between boots; these do not. */
const keys = ["serial", "uuid", "label"] as const;

export interface Selector {
  readonly by: (typeof keys)[number];
  readonly value: string;
}

/** "serial=ID", "uuid=UUID" or "label=NAME"; null for a path. Throws `usage` for an empty value. */
export function parseSelector(text: string): Selector | null {
  const equals = text.indexOf("=");
  if (equals < 0) return null;
  const key = keys.find((candidate) => candidate === text.slice(0, equals));
  if (key === undefined) return null;
  const value = text.slice(equals + 1);
  if (value === "") throw new VolumeError("usage", `--device ${key}= needs a value`);
  // Such bytes arrive as U+FFFD, and so does every name on a disk that is not UTF-8.
  if (value.includes("\ufffd")) throw new VolumeError("usage", `--device ${key}= is not UTF-8`);
  return { by: key, value };
}

/** A block device and by what it can be told from others. */
interface Seen {
  readonly path: string;
  readonly sizeBytes: number;
  readonly serial: string | null;
  readonly superblock: Superblock | null;
}

/** Any intact copy tells the name: the disk whose first copy is damaged is found, and repaired. */
function intactSuperblock(kernel: Kernel, fd: number, sizeBytes: number): Superblock | null {
  for (const offset of copyOffsets(sizeBytes)) {
    const block = new Uint8Array(new ArrayBuffer(superblockBytes));
    if (!readExactly(kernel, fd, block, offset)) continue;
    const copy = parseSuperblock(block);
    if (isValidCopy(copy, offset)) return copy;
  }
  return null;
}

/** Of the page "unit serial number" (SPC-4, 7.8.15): the number follows, in ASCII. */
const serialPageHeader = 4;

/** The serial number in sysfs: of a virtio disk, of NVMe, of a SCSI or SATA disk. */
const serialOf = (kernel: Kernel, folder: string): string | null =>
  readTextOrNull(kernel, `${folder}/serial`) ??
  readTextOrNull(kernel, `${folder}/device/serial`) ??
  readTextOrNull(kernel, `${folder}/device/vpd_pg80`)?.slice(serialPageHeader).trim() ??
  null;

/** What can be seen of one device; null when it has no medium or cannot be read. */
function lookAt(kernel: Kernel, name: string, withSuperblock: boolean): Seen | null {
  const path = devicePath(name);
  const serial = serialOf(kernel, `/sys/class/block/${name}`);
  try {
    const fd = kernel.open(path, O_RDONLY | O_NONBLOCK);
    return withFd(kernel, fd, () => {
      const sizeBytes = deviceSizeBytes(kernel, fd);
      if (sizeBytes === 0) return null;
      const superblock = withSuperblock ? intactSuperblock(kernel, fd, sizeBytes) : null;
      return { path, sizeBytes, serial, superblock };
    });
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

const seenText = ({ path, sizeBytes, serial, superblock }: Seen): string => {
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

/** All devices there are, of those that can be read. */
function devices(kernel: Kernel, selector: Selector): readonly Seen[] {
  return namesIn(kernel, "/sys/class/block")
    .sort()
    .map((name) => lookAt(kernel, name, selector.by !== "serial"))
    .filter((seen) => seen !== null);
}

/**
 * The path of the one device that a selector means; null when none does. Throws
 * `device-ambiguous` when more than one does: which of them is not for us to say.
 */
export function selectDevice(kernel: Kernel, selector: Selector): string | null {
  const found = devices(kernel, selector).filter((seen) => matches(selector, seen));
  if (found.length > 1) {
    throw new VolumeError(
      "device-ambiguous",
      `${selector.by}=${selector.value} is ${found.length} disks: ${found.map(seenText).join("; ")}`,
      { hint: "take one of them away, or name one by its path" },
    );
  }
  return found[0]?.path ?? null;
}

/** Every disk there is, in words, for the message that none was meant. */
export function seenDisks(kernel: Kernel, selector: Selector): string {
  const seen = devices(kernel, selector).map(seenText);
  return seen.length === 0 ? "no disk was seen" : `seen: ${seen.join("; ")}`;
}
