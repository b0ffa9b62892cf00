import { waitForAppearance } from "../linux/appearance.ts";
import { deviceSizeBytes, isDeviceReadOnly, kernelName } from "../linux/block-device.ts";
import { Errno, isErrno, reasonOf } from "../linux/errno.ts";
import { statFd, statOrNull } from "../linux/files.ts";
import {
  type FileStatus,
  isBlockDevice,
  isDirectory,
  isRegularFile,
  type Kernel,
  O_NONBLOCK,
  O_RDONLY,
} from "../linux/kernel.ts";
import { cmdlineValue } from "./cmdline.ts";
import type { Context, Progress } from "./context.ts";
import { VolumeError } from "./error.ts";
import { parseSelector, type Selector, seenDisks, selectDevice } from "./selector.ts";

/** A block device that is open for reading, and what was seen of it. */
export interface OpenDevice {
  readonly path: string;
  readonly fd: number;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** "major:minor" */
  readonly nodeDevice: string;
  /** The kernel's name, "vdb". */
  readonly name: string;
}

const hypervisorDevice = "/dev/arcboxhvc1";
const virtioDevice = "/dev/vdb";

/** Which disk is meant: a selector, or paths of which the first that is there is taken. */
export interface Choice {
  readonly selector: Selector | null;
  readonly paths: readonly string[];
}

/** The disk that was asked for, or is on the kernel command line, or has a usual name. */
export function chooseDevice({ options, cmdline }: Pick<Context, "options" | "cmdline">): Choice {
  const text = options.device ?? cmdlineValue(cmdline(), "arcbox.docker_data_device");
  if (text === undefined) return { selector: null, paths: [hypervisorDevice, virtioDevice] };
  const selector = parseSelector(text);
  return { selector, paths: selector === null ? [text] : [] };
}

function kindOf(status: FileStatus): string {
  if (isDirectory(status)) return "a directory";
  if (isRegularFile(status)) return "a regular file";
  return "not a block device";
}

/** Opens a device that is there and has a medium; null when either is still missing. */
function openReady(kernel: Kernel, path: string): OpenDevice | null {
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO in this place would block for ever.
    fd = kernel.open(path, O_RDONLY | O_NONBLOCK);
  } catch (error) {
    const { ENOENT, ENOTDIR, ENXIO, ENODEV, ENOMEDIUM } = Errno;
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
  let isOurs = false;
  try {
    const status = statFd(kernel, fd);
    if (!isBlockDevice(status)) {
      throw new VolumeError("not-a-block-device", `${path} is ${kindOf(status)}`, {
        hint: isRegularFile(status)
          ? "to use a file as the disk, give it with --image"
          : "give the path of a disk, such as /dev/vdb",
      });
    }
    const sizeBytes = deviceSizeBytes(kernel, fd);
    if (sizeBytes === 0) return null;
    const { nodeDevice } = status;
    const name = kernelName(kernel, nodeDevice);
    const readOnly = isDeviceReadOnly(kernel, fd);
    isOurs = true;
    return { path, fd, sizeBytes, readOnly, nodeDevice, name };
  } finally {
    if (!isOurs) kernel.close(fd);
  }
}

/** The device as it is now; null when it is not there or has no medium. */
export function openDeviceNow(kernel: Kernel, paths: readonly string[]): OpenDevice | null {
  for (const path of paths) {
    const device = openReady(kernel, path);
    if (device !== null) return device;
  }
  return null;
}

/** Opens the device, and waits for it when it is not there yet. */
export function openDevice(
  kernel: Kernel,
  { selector, paths }: Choice,
  waitMs: number,
  progress: Progress,
): OpenDevice {
  const look = (): OpenDevice | null => {
    if (selector === null) return openDeviceNow(kernel, paths);
    const path = selectDevice(kernel, selector);
    return path === null ? null : openDeviceNow(kernel, [path]);
  };
  const atOnce = look();
  if (atOnce !== null) return atOnce;
  const name = selector === null ? paths.join(" or ") : `${selector.by}=${selector.value}`;
  if (waitMs > 0) {
    progress(`waiting for ${name}`);
    const device = waitForAppearance(kernel, paths, waitMs, look);
    if (device !== null) return device;
  }
  const seen = selector === null ? "" : ` (${seenDisks(kernel, selector)})`;
  const isThere = paths.some((path) => statOrNull(kernel, path) !== null);
  const isWaited = waitMs > 0;
  const missing = isWaited ? "did not appear" : "is not there";
  const what = isThere ? "is there but had no medium (its size is zero)" : missing;
  const waited = isWaited ? ` within ${waitMs / 1000} s` : "";
  throw new VolumeError("device-missing", `${name} ${what}${waited}${seen}`, {
    hint: "name the disk with --device, or give it more time with --wait SECONDS",
  });
}

/** The same device, opened anew after something changed its size. */
export function reopenDevice(kernel: Kernel, device: OpenDevice): OpenDevice {
  return { ...device, sizeBytes: deviceSizeBytes(kernel, device.fd) };
}
