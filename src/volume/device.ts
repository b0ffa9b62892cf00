import {
  isValidCopy,
  parseSuperblock,
  primaryOffset,
  superblockBytes,
} from "../btrfs/superblock.ts";
import { waitForAppearance } from "../linux/appearance.ts";
import {
  type DeviceSize,
  deviceSize,
  isDeviceReadOnly,
  kernelName,
} from "../linux/block-device.ts";
import { Errno, isErrno, reasonOf, SystemError } from "../linux/errno.ts";
import { readExactly, statFd, statOrNull } from "../linux/files.ts";
import {
  type FileStatus,
  isBlockDevice,
  isDirectory,
  isRegularFile,
  type Kernel,
  O_NONBLOCK,
  O_RDONLY,
} from "../linux/kernel.ts";
import { cmdlineValue, unusable } from "./cmdline.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import {
  isSelected,
  parseSelector,
  type Selector,
  seenDisks,
  selectDevice,
  selectorText,
} from "./selector.ts";
import { diskAnswers } from "./silent-disk.ts";
import { sizeText } from "./size.ts";

/** A block device that is open for reading, and what was seen of it. */
export interface OpenDevice extends DeviceSize {
  readonly path: string;
  readonly fd: number;
  readonly readOnly: boolean;
  /** "major:minor" */
  readonly nodeDevice: string;
  /** The kernel's name, "vdb". */
  readonly name: string;
}

const hypervisorDevice = "/dev/arcboxhvc1";
const virtioDevice = "/dev/vdb";
const cmdlineKey = "arcbox.docker_data_device";

/** Which disk is meant. */
export type Choice =
  | { readonly by: "path"; readonly path: string; readonly name: string }
  | { readonly by: "selector"; readonly selector: Selector; readonly name: string }
  /** Nobody named a disk. */
  | { readonly by: "default"; readonly name: string };

/** A path as it was typed, and as it leads there from any working directory. */
const byPath = (kernel: Kernel, name: string): Choice => {
  const isAbsolute = name.startsWith("/");
  const folder = isAbsolute ? "" : kernel.readlink("/proc/self/cwd");
  return { by: "path", name, path: isAbsolute ? name : `${folder === "/" ? "" : folder}/${name}` };
};

/** Where it cannot be read, it may name a disk, and the default would be another one. */
function onCmdline(cmdline: string | null): string | undefined {
  if (cmdline !== null) return cmdlineValue(cmdline, cmdlineKey);
  throw new VolumeError("unsupported", "/proc/cmdline cannot be read, which may name the disk", {
    hint: "name it with --device, or mount /proc whole (without subset=pid)",
  });
}

/** The disk that was asked for, or is on the kernel command line, or has a usual name. */
export function chooseDevice({
  kernel,
  options,
  cmdline,
}: Pick<Context, "kernel" | "options" | "cmdline">): Choice {
  const asked = options.device;
  const text = asked ?? onCmdline(cmdline());
  if (text === undefined) {
    return { by: "default", name: `${hypervisorDevice} or ${virtioDevice}` };
  }
  const selector = parseSelector(text, asked === undefined ? `${cmdlineKey}=` : "--device");
  if (selector !== null) return { by: "selector", selector, name: selectorText(selector) };
  if (asked === undefined && !text.startsWith("/")) {
    const hint = "give the path of a disk, such as /dev/vdb, or serial=ID, uuid=UUID, label=NAME";
    throw unusable(cmdlineKey, `names no disk: ${JSON.stringify(text)}`, hint);
  }
  return byPath(kernel, text);
}

function kindOf(status: FileStatus): string {
  if (isDirectory(status)) return "a directory";
  if (isRegularFile(status)) return "a regular file";
  return "not a block device";
}

/** Numbers are exact to 8 PiB. */
function sizeOf(kernel: Kernel, fd: number, path: string): DeviceSize {
  const size = deviceSize(kernel, fd);
  if (Number.isSafeInteger(size.sizeBytes)) return size;
  throw new VolumeError(
    "unsupported",
    `${path} is larger than 8 PiB: ${sizeText(size.sizeBytes)}`,
    {
      hint: "choose a smaller disk, or a partition of it",
    },
  );
}

/** Opens a device that is there and has a medium; null when either is still missing. */
export function openDeviceNow(kernel: Kernel, path: string): OpenDevice | null {
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO in this place would block for ever.
    fd = kernel.open(path, O_RDONLY | O_NONBLOCK);
  } catch (error) {
    const { ENOENT, ENOTDIR, ENXIO, ENODEV, ENOMEDIUM } = Errno;
    // A socket and a terminal that is not ours cannot be opened either, and no waiting makes disks of them.
    const status = isErrno(error, ENXIO, ENODEV) ? statOrNull(kernel, path) : null;
    if (status !== null) assertBlockDevice(path, status);
    if (isErrno(error, ENOENT, ENOTDIR, ENXIO, ENODEV, ENOMEDIUM)) return null;
    if (isErrno(error, Errno.EACCES, Errno.EPERM)) {
      throw new VolumeError("permission", `${path} cannot be opened: permission denied`, {
        cause: error,
        hint: "run it as root",
      });
    }
    throw new VolumeError("unreadable", `${path} cannot be opened: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  let device: OpenDevice | null = null;
  try {
    device = openedDevice(kernel, path, fd);
    return device;
  } finally {
    if (device === null) kernel.close(fd);
  }
}

function assertBlockDevice(path: string, status: FileStatus): void {
  if (isBlockDevice(status)) return;
  throw new VolumeError("not-a-block-device", `${path} is ${kindOf(status)}`, {
    hint: isRegularFile(status)
      ? "to use a file as the disk, give it with --image"
      : "give the path of a disk, such as /dev/vdb",
  });
}

/** What is to be known of an open device; null when it has no medium. */
export function openedDevice(kernel: Kernel, path: string, fd: number): OpenDevice | null {
  const status = statFd(kernel, fd);
  assertBlockDevice(path, status);
  const size = sizeOf(kernel, fd, path);
  if (size.sizeBytes === 0) return null;
  const { nodeDevice } = status;
  const name = kernelName(kernel, nodeDevice);
  const readOnly = isDeviceReadOnly(kernel, fd);
  return { path, fd, ...size, readOnly, nodeDevice, name };
}

/**
 * The default disk. What the hypervisor names comes first, and may come a moment after /dev/vdb: until
 * the wait is over, that one is taken only if it is a Btrfs already, for nothing on it can be lost then.
 */
function openDefault(kernel: Kernel, isOver: boolean): OpenDevice | null {
  const first = openDeviceNow(kernel, hypervisorDevice);
  if (first !== null) return first;
  if (statOrNull(kernel, hypervisorDevice) !== null) return null;
  const second = openDeviceNow(kernel, virtioDevice);
  if (second === null || isOver || hasPrimary(kernel, second)) return second;
  kernel.close(second.fd);
  return null;
}

function hasPrimary(kernel: Kernel, { fd, sizeBytes }: OpenDevice): boolean {
  // When it does not answer, opening it as the volume's disk says so later.
  if (!diskAnswers(kernel, fd, sizeBytes)) return true;
  const block = new Uint8Array(new ArrayBuffer(superblockBytes));
  try {
    const isRead = readExactly(kernel, fd, block, primaryOffset);
    return isRead && isValidCopy(parseSuperblock(block), primaryOffset);
  } catch (error) {
    if (error instanceof SystemError) return false;
    throw error;
  }
}

/** The device that is meant, as it is now. `isOver`: nobody will wait any longer for a better one. */
function openChosen(kernel: Kernel, choice: Choice, isOver: boolean): OpenDevice | null {
  switch (choice.by) {
    case "path":
      return openDeviceNow(kernel, choice.path);
    case "selector": {
      const path = selectDevice(kernel, choice.selector);
      return path === null ? null : openDeviceNow(kernel, path);
    }
    case "default":
      return openDefault(kernel, isOver);
  }
}

/** Where a name may appear that ends the wait. */
function pathsOf(choice: Choice): readonly string[] {
  switch (choice.by) {
    case "path":
      return [choice.path];
    case "selector":
      return [];
    case "default":
      return [hypervisorDevice, virtioDevice];
  }
}

/** Opens the device, and waits for it when it is not there yet. */
export function openDevice(
  kernel: Kernel,
  choice: Choice,
  waitMs: number,
  { progress, note }: Pick<Context, "progress" | "note">,
): OpenDevice {
  const isWaited = waitMs > 0;
  const atOnce = openChosen(kernel, choice, !isWaited);
  if (atOnce !== null) return atOnce;
  const paths = pathsOf(choice);
  if (isWaited) {
    progress(`waiting for ${choice.name}`);
    const look = (): OpenDevice | null => openChosen(kernel, choice, false);
    const device =
      waitForAppearance(kernel, paths, waitMs, look, note) ?? openChosen(kernel, choice, true);
    if (device !== null) return device;
  }
  const seen = choice.by === "selector" ? ` (${seenDisks(kernel, choice.selector)})` : "";
  const isThere = paths.some((path) => statOrNull(kernel, path) !== null);
  const missing = isWaited ? "did not appear" : "is not there";
  const what = isThere ? "is there but had no medium (its size is zero)" : missing;
  const waited = isWaited ? ` within ${waitMs / 1000} s` : "";
  throw new VolumeError("device-missing", `${choice.name} ${what}${waited}${seen}`, {
    hint: "name the disk with --device, or give it more time with --wait SECONDS",
  });
}

/**
 * Throws `busy` unless the open and locked device still is what was chosen: a link was turned, a disk
 * replaced, or a better one came.
 */
export function assertStillChosen(kernel: Kernel, choice: Choice, device: OpenDevice): void {
  const { path, nodeDevice, fd, name } = device;
  const hint = "run the command again";
  if (statOrNull(kernel, path)?.nodeDevice !== nodeDevice) {
    throw new VolumeError("busy", `${path} is another device than it was a moment ago`, { hint });
  }
  if (choice.by === "selector" && !isSelected(kernel, choice.selector, fd, name)) {
    throw new VolumeError("busy", `${path} is not ${choice.name} any more`, { hint });
  }
  if (choice.by !== "default" || path === hypervisorDevice) return;
  if (statOrNull(kernel, hypervisorDevice) === null) return;
  throw new VolumeError("busy", `${hypervisorDevice} came after ${path} was chosen`, { hint });
}

/** The same device, after something changed its size. */
export function reopenDevice(kernel: Kernel, device: OpenDevice): OpenDevice {
  return { ...device, ...sizeOf(kernel, device.fd, device.path) };
}
