import { mountedDevices, mountedUuid } from "../btrfs/mounted.ts";
import { devicePath } from "../linux/block-device.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { isSysfsMounted, statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { detachLoop, refreshLoopSize } from "../linux/loop.ts";
import { sameBytes } from "../linux/place.ts";
import type { Context, Progress } from "./context.ts";
import {
  chooseDevice,
  type OpenDevice,
  openDevice,
  openDeviceNow,
  reopenDevice,
} from "./device.ts";
import { attachedDisk, type Disk, deviceDisk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import {
  attachImage,
  growImage,
  imageDisk,
  type OpenImage,
  openImage,
  removeImage,
  wholeSectors,
} from "./image.ts";
import { lock, lockHolder } from "./lock.ts";
import { loopDisk } from "./loop-disk.ts";
import { assertOptions, defaultImageBytes, defaultWaitMs } from "./options.ts";
import type { StepResult } from "./report.ts";
import type { Selector } from "./selector.ts";
import { sizeText } from "./size.ts";

/**
 * The disk of this run, open and locked: a block device, or an image that may not be
 * attached yet. Nothing is changed until `prepare`.
 */
export class Source {
  /** False for a disk that was named by what is on it. */
  readonly mayBeFormatted: boolean;
  readonly #kernel: Kernel;
  readonly #image: OpenImage | null;
  #device: OpenDevice | null;
  /** The loop device that this run attached. */
  #attachedPath: string | null = null;
  #prepared = false;
  #untouched = true;
  /** The image, or its loop device, has another size than it had. */
  #resized = false;
  #imageClosed = false;

  private constructor(
    kernel: Kernel,
    image: OpenImage | null,
    device: OpenDevice | null,
    selector: Selector | null = null,
  ) {
    this.#kernel = kernel;
    this.#image = image;
    this.#device = device;
    this.mayBeFormatted = selector === null || selector.by === "serial";
  }

  /** Opens and locks. A missing image is made only when the operation is acting. */
  static open(context: Context): Source {
    const { kernel, options, acting, locking, note, progress } = context;
    if (options.image === undefined) {
      const choice = chooseDevice(context);
      const waitMs = options.waitMs ?? defaultWaitMs;
      const device = openDevice(kernel, choice, waitMs, progress);
      const source = new Source(kernel, null, device, choice.selector);
      return locking ? source.#locked(progress) : source;
    }
    const image = openImage(kernel, {
      path: options.image,
      sizeBytes: options.sizeBytes,
      defaultBytes: defaultImageBytes,
      acting,
      locking,
      progress,
      note,
    });
    const source = new Source(kernel, image, null);
    try {
      source.#device = loopDeviceOf(kernel, image);
    } catch (error) {
      source.close();
      throw error;
    }
    return locking ? source.#locked(progress) : source;
  }

  #locked(progress: Progress): this {
    if (this.#device === null) return this;
    try {
      lock(this.#kernel, this.#device.fd, this.#device.path, progress);
      // Whoever held the lock may have changed the size.
      this.#device = reopenDevice(this.#kernel, this.#device);
      this.assertSameDevice();
      return this;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Throws `busy` when the path leads to another device by now: a link was turned, a disk replaced. */
  assertSameDevice(): void {
    const { path, nodeDevice } = this.device;
    if (statOrNull(this.#kernel, path)?.nodeDevice === nodeDevice) return;
    throw new VolumeError("busy", `${path} is another device than it was a moment ago`, {
      hint: "run the command again",
    });
  }

  /** What to call it in a message: the device, or the image that has none yet. */
  get path(): string {
    return this.#device?.path ?? this.#image?.path ?? "";
  }

  /** An image that does not exist yet. */
  get isMissing(): boolean {
    return this.#image !== null && this.#image.fd === null;
  }

  get readOnly(): boolean {
    return this.#device?.readOnly ?? false;
  }

  /** The device as an image will have it too once it is prepared. */
  get disk(): Disk {
    const image = this.#image;
    if (image !== null && this.#device === null) return imageDisk(this.#kernel, image);
    const { fd, sizeBytes } = this.device;
    const disk = deviceDisk(this.#kernel, fd, sizeBytes);
    if (image === null || image.fd === null) {
      return this.device.name.startsWith("loop")
        ? loopDisk(this.#kernel, disk, this.device.name)
        : disk;
    }
    const wantedBytes = this.#prepared ? sizeBytes : wholeSectors(image.wantedBytes);
    return attachedDisk(this.#kernel, image.fd, disk, wantedBytes);
  }

  /** The block device. An image has it once it is attached. */
  get device(): OpenDevice {
    if (this.#device === null) throw new VolumeError("internal", `${this.path} is not attached`);
    return this.#device;
  }

  get isAttached(): boolean {
    return this.#device !== null;
  }

  /** Who is at work on the disk; null when nobody is. */
  lockHolder(): string | null {
    const fd = this.#device?.fd ?? this.#image?.fd ?? null;
    return fd === null ? null : lockHolder(this.#kernel, fd);
  }

  /** What a system library takes the disk for, to name it in a refusal. */
  signatureName(): string | null {
    const fd = this.#device?.fd ?? this.#image?.fd ?? null;
    return fd === null ? null : this.#kernel.signatureName(fd);
  }

  /** The UUID under which the kernel has it mounted, in whatever mount namespace. */
  mountedUuid(): string | null {
    return this.#device === null ? null : mountedUuid(this.#kernel, this.#device.name);
  }

  /** Another device that shows the same bytes and is mounted as a Btrfs: "/dev/loop1"; null when none is. */
  mountedTwin(): string | null {
    if (this.#device === null) return null;
    const name = sameBytes(this.#kernel, this.#device.name, mountedDevices(this.#kernel));
    return name === null ? null : devicePath(name);
  }

  /** What it has now; of an image that is made by this run, what that will have. */
  get bytesNow(): number {
    const image = this.#image;
    if (image === null || image.fd === null || image.created) return this.disk.sizeBytes;
    return this.#device?.sizeBytes ?? wholeSectors(image.fileBytes);
  }

  asFound(): StepResult {
    return { outcome: "kept", detail: `${this.path}, ${sizeText(this.bytesNow)}` };
  }

  /** What `prepare` would do. */
  plan(): StepResult {
    const changes = this.#image === null ? [] : this.#changesDue(this.#image);
    if (changes.length === 0) return this.asFound();
    return { outcome: "changed", detail: `${this.#image?.path}: ${changes.join(", ")}` };
  }

  #changesDue(image: OpenImage): string[] {
    const size = sizeText(image.wantedBytes);
    const changes: string[] = [];
    if (image.fd === null || image.created) changes.push(`sparse image of ${size} made`);
    else if (image.wantedBytes > image.fileBytes) changes.push(`image grown to ${size}`);
    if (this.#device === null) changes.push("attached to a loop device");
    else if (this.#device.sizeBytes < this.disk.sizeBytes) changes.push("loop device grown");
    return changes;
  }

  /** Gives an image its size and a loop device. The verdict has allowed it before. */
  prepare(progress: Progress): StepResult {
    const image = this.#image;
    const planned = this.plan();
    if (image === null || image.fd === null || planned.outcome === "kept") return planned;
    if (image.wantedBytes > image.fileBytes) {
      growImage(this.#kernel, image.fd, image.path, image.wantedBytes);
      this.#resized = true;
    }
    if (this.#device === null) {
      const path = attachImage(this.#kernel, image.fd, image.path);
      this.#attachedPath = path;
      this.#device = openDeviceNow(this.#kernel, [path]);
      if (this.#device === null) throw new SystemError("open", Errno.ENXIO, path);
      lock(this.#kernel, this.#device.fd, path, progress);
    } else if (this.#device.sizeBytes < this.disk.sizeBytes) {
      refreshLoopSize(this.#kernel, this.#device.path);
      this.#resized = true;
      this.#device = reopenDevice(this.#kernel, this.#device);
    }
    this.#prepared = true;
    return { ...planned, detail: `${planned.detail} (${this.path})` };
  }

  /** From here on the disk holds something of this run, so a failure no longer removes an image. */
  beginWriting(): void {
    this.#untouched = false;
  }

  /**
   * Takes back what `prepare` did, after a failure; what will not go back becomes a note. True when
   * nothing is left of it: an image that was given its size, or written to, stays.
   */
  undo(note: (text: string) => void): boolean {
    const image = this.#image;
    const isMade = image?.created === true && this.#untouched;
    try {
      // A loop device detaches at once only when nobody has it open.
      this.#closeDevice();
      if (this.#attachedPath !== null) detachLoop(this.#kernel, this.#attachedPath);
      // Before the lock goes: a run that waits for it must see that the file is gone.
      if (image !== null && image.fd !== null && isMade) {
        return removeImage(this.#kernel, image.fd, image.path, note);
      }
      if (this.#attachedPath !== null && this.#resized) {
        note(`${this.#attachedPath} was detached again after the failure`);
      }
      return !this.#resized;
    } catch (error) {
      note(`${image?.path ?? ""} could not be put back as it was: ${String(error)}`);
      return false;
    } finally {
      this.#closeImage();
    }
  }

  /** Detaches the loop device of an image; gives its path, null when there is none. */
  detach(): string | null {
    const path = this.#image?.loopPath ?? null;
    if (path === null) return null;
    this.#closeDevice();
    detachLoop(this.#kernel, path);
    return path;
  }

  close(): void {
    this.#closeDevice();
    this.#closeImage();
  }

  #closeDevice(): void {
    if (this.#device !== null) this.#kernel.close(this.#device.fd);
    this.#device = null;
  }

  #closeImage(): void {
    if (this.#image !== null && this.#image.fd !== null && !this.#imageClosed) {
      this.#kernel.close(this.#image.fd);
    }
    this.#imageClosed = true;
  }
}

/** The loop device that the image is attached to already; null when there is none. */
function loopDeviceOf(kernel: Kernel, { path, loopPath }: OpenImage): OpenDevice | null {
  if (loopPath === null) return null;
  const device = openDeviceNow(kernel, [loopPath]);
  if (device !== null) return device;
  // Attached once more, the file would be two disks, each with a cache of its own.
  throw new VolumeError("busy", `${loopPath} went away while the image ${path} was opened`, {
    hint: "run the command again",
  });
}

/** Without sysfs nothing shows what a disk is called, is attached to, or is mounted as. */
function openWithSysfs(context: Context): Source {
  try {
    return Source.open(context);
  } catch (error) {
    if (!isErrno(error, Errno.ENOENT) || isSysfsMounted(context.kernel)) throw error;
    throw new VolumeError("unsupported", `/sys is not mounted: ${error.message}`, {
      cause: error,
      hint: "mount it first: mount -t sysfs sysfs /sys",
    });
  }
}

/** Opens the disk of an operation and puts it into the report. */
export function openSource(context: Context): Source {
  assertOptions(context.options);
  const source = openWithSysfs(context);
  context.recorder.disk(source.path, source.bytesNow, source.asFound());
  return source;
}
