import { mountedDevices, mountedUuid } from "../btrfs/mounted.ts";
import { devicePath } from "../linux/block-device.ts";
import { Errno, SystemError } from "../linux/errno.ts";
import { pathOf, procPath, statFd, statOrNull, withFd } from "../linux/files.ts";
import { isRegularFile, type Kernel } from "../linux/kernel.ts";
import {
  deletedFileOf,
  detachLoop,
  loopsOfDeleted,
  refreshLoopSize,
  showsWhole,
  withBackingFile,
} from "../linux/loop.ts";
import { deletedFileBelow, sameBytes } from "../linux/place.ts";
import { assertAnswers } from "./answering.ts";
import type { Context, Progress } from "./context.ts";
import {
  assertStillChosen,
  type Choice,
  chooseDevice,
  type OpenDevice,
  openDevice,
  openDeviceNow,
  openedDevice,
  reopenDevice,
} from "./device.ts";
import { type Deletion, deletedText, saveHint } from "./deleted-image.ts";
import { attachedDisk, type Disk, deviceDisk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { type HostSpace, hostSpaceOf } from "./host-space.ts";
import {
  attachImage,
  growImage,
  imageDisk,
  openBacking,
  openForWriting,
  type OpenImage,
  openImage,
  removeImage,
  wholeSectors,
  withFolder,
} from "./image.ts";
import { lockedBy, lockedError } from "./image-locks.ts";
import { assertNoDiskWriter, assertNoWriter } from "./image-writers.ts";
import { assertNoOtherUse, assertNoSwap } from "./in-use.ts";
import { lock, lockHolder } from "./lock.ts";
import { loopDisk } from "./loop-disk.ts";
import { isOther, type Opener, stillThere, unseen } from "./openers.ts";
import { assertOptions, defaultImageBytes, defaultWaitMs } from "./options.ts";
import type { StepResult } from "./report.ts";
import { assertDiskAnswers } from "./silent-disk.ts";
import { sizeText } from "./size.ts";
import type { Verdict } from "./verdict.ts";

/**
 * The disk of this run, open and locked: a block device, or an image that may not be
 * attached yet. Nothing is changed until `prepare`.
 */
export class Source {
  /** False for a disk that was named by what is on it. */
  readonly mayBeFormatted: boolean;
  readonly #kernel: Kernel;
  readonly #image: OpenImage | null;
  /** null of an image. */
  readonly #choice: Choice | null;
  #device: OpenDevice | null;
  /** A loop device that this run attached, could not use, and could not detach. */
  #strayLoop: string | null = null;
  /** This run attached the image to its loop device. */
  #hasAttached = false;
  #mountPath: string | null = null;
  #prepared = false;
  #untouched = true;
  /** The image, or its loop device, has another size than it had. */
  #resized = false;
  #imageClosed = false;

  private constructor(
    kernel: Kernel,
    image: OpenImage | null,
    device: OpenDevice | null,
    choice: Choice | null,
  ) {
    this.#kernel = kernel;
    this.#image = image;
    this.#device = device;
    this.#choice = choice;
    this.mayBeFormatted = choice?.by !== "selector" || choice.selector.by === "serial";
  }

  /** Opens and locks. A missing image is made only when the operation is acting. */
  static open(context: Context): Source {
    const { kernel, options, acting, locking, note, progress } = context;
    if (options.image === undefined) {
      const choice = chooseDevice(context);
      // In /dev nobody has to be asked.
      if (choice.by === "path" && !choice.path.startsWith("/dev/")) {
        assertAnswers(kernel, choice.path);
      }
      const waitMs = options.waitMs ?? defaultWaitMs;
      const device = openDevice(kernel, choice, waitMs, context);
      const source = new Source(kernel, null, device, choice);
      return source.#checked(progress, locking);
    }
    assertAnswers(kernel, options.image);
    const image = openImage(kernel, {
      path: options.image,
      sizeBytes: options.sizeBytes,
      defaultBytes: defaultImageBytes,
      acting,
      locking,
      progress,
      note,
    });
    const source = new Source(kernel, image, null, null);
    try {
      source.#device = loopDeviceOf(kernel, image);
    } catch (error) {
      source.close();
      throw error;
    }
    return source.#checked(progress, locking);
  }

  /** Locks, if that is meant. What chose the disk is asked again of the one that is open. */
  #checked(progress: Progress, locking: boolean): this {
    if (this.#device === null) return this;
    try {
      assertDiskAnswers(this.#kernel, this.#device, progress);
      if (locking) {
        lock(this.#kernel, this.#device.fd, this.#device.path, progress);
        // Whoever held the lock may have changed the size.
        this.#device = reopenDevice(this.#kernel, this.#device);
      }
      this.assertStillChosen();
      return this;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Throws `busy` when what chose the disk would choose another one by now. */
  assertStillChosen(): void {
    if (this.#choice !== null) assertStillChosen(this.#kernel, this.#choice, this.device);
    else if (this.#image !== null) assertShowsImage(this.#kernel, this.device, this.#image);
  }

  /** Throws `busy` when somebody else has locked the disk, or the image that it is. */
  assertUnlocked(): void {
    // Where only we are found to have it open with a lock, the one whose lock it is has ended, or cannot be seen.
    const isSeen = (opener: Opener): boolean => isOther(this.#kernel, opener);
    const who = stillThere(this.#kernel, () => this.lockedBy(), isSeen);
    if (who === null) return;
    const { mode } = statFd(this.#kernel, this.#image?.fd ?? this.device.fd);
    throw lockedError(this.#image?.path ?? this.path, isSeen(who) ? who : unseen, mode);
  }

  /** Throws `busy` while somebody writes to an image that is about to be attached. */
  assertNoWriter(): void {
    const image = this.#image;
    if (image === null || image.fd === null || this.#device !== null) return;
    assertNoWriter(this.#kernel, image.fd, image.path);
  }

  /**
   * Throws `busy` while somebody writes to a disk that is to be formatted, or to the file that it shows. (No lock and no
   * claim tells of `dd`; all processes are asked, which a warm boot need not wait for.)
   */
  assertNoDiskWriter(): void {
    const device = this.#device;
    if (device === null) return;
    const file = withBackingFile(this.#kernel, device, (fd) => statFd(this.#kernel, fd));
    assertNoDiskWriter(this.#kernel, device, file);
  }

  /** Who has it open under a lock that is not a run of ours, as a virtual machine has; null when nobody. */
  lockedBy(): Opener | null {
    const [image, device] = [this.#image, this.#device];
    if (image !== null && image.fd !== null) {
      const who = lockedBy(this.#kernel, image.fd, image.loopPath !== null);
      // Somebody may have the loop device for a disk that shows the image, and lock that.
      return who ?? (device === null ? null : lockedBy(this.#kernel, device.fd, false));
    }
    if (device === null) return null;
    return (
      lockedBy(this.#kernel, device.fd, false) ??
      withBackingFile(this.#kernel, device, (fd) => lockedBy(this.#kernel, fd, true))
    );
  }

  /** Throws `busy` when bytes of the disk are in use by way of another device, or as swap. */
  assertNoOtherUse(verdict: Verdict["kind"]): void {
    const [image, device] = [this.#image, this.#device];
    if (image !== null && image.fd !== null) {
      assertNoSwap(this.#kernel, image.path, statFd(this.#kernel, image.fd));
    }
    if (device !== null) {
      assertNoOtherUse(this.#kernel, device.path, device.name, verdict);
    }
  }

  /** What the filesystem has left that the image lies on; null of a disk that is no file, or where it is not told. */
  hostSpace(): HostSpace | null {
    const [kernel, image, device] = [this.#kernel, this.#image, this.#device];
    try {
      if (image !== null && !image.isDeleted) {
        const { fd, path, wantedBytes } = image;
        const look = (at: number) => hostSpaceOf(kernel, at, path, wantedBytes);
        return fd === null ? withFolder(kernel, path, look) : look(fd);
      }
      if (device === null) return null;
      return withBackingFile(kernel, device, (fd, path) =>
        hostSpaceOf(kernel, fd, path, device.sizeBytes),
      );
    } catch (error) {
      // It is asked to explain another error, or for a note.
      if (error instanceof SystemError) return null;
      throw error;
    }
  }

  /** This run made the image, and a failure now takes it away again. */
  get goesOnFailure(): boolean {
    return this.#image?.created === true && this.#untouched;
  }

  /** The image gets its size, or a larger one, in this run. */
  get willGrow(): boolean {
    const image = this.#image;
    return image !== null && !image.isDeleted && image.wantedBytes > image.fileBytes;
  }

  /**
   * The loop devices that show a deleted file of the image's name: an older volume, perhaps, of which they have the
   * only copy.
   */
  namesakes(): readonly string[] {
    const image = this.#image;
    if (image === null || image.fd === null) return [];
    return loopsOfDeleted(this.#kernel, pathOf(this.#kernel, image.fd));
  }

  /** What there is to say of an image that was deleted while its loop device shows it; null where it is there. */
  deletion(): Deletion | null {
    const file = this.deletedFile;
    if (file === null) return null;
    const { path, name } = this.device;
    return { what: deletedText(path, file), hint: saveHint(this.#kernel, name, path, file) };
  }

  /**
   * A path for mount(2) that leads to the open device, whoever turns a link in the path that was given. The
   * kernel's own name is what the mount table then shows; a descriptor leads there where /dev lacks it.
   */
  get mountPath(): string {
    const { name, nodeDevice, fd } = this.device;
    const path = devicePath(name);
    const isThere = (): boolean => statOrNull(this.#kernel, path)?.nodeDevice === nodeDevice;
    this.#mountPath ??= isThere() ? path : procPath(fd);
    return this.#mountPath;
  }

  /** The path that the file of its loop device had before it was deleted; null where there is no such thing. */
  get deletedFile(): string | null {
    // An image that was opened may have lost a name, but has another one.
    if (this.#device === null || (this.#image !== null && !this.#image.isDeleted)) return null;
    return deletedFileBelow(this.#kernel, this.#device.name);
  }

  /** How much of the device can keep what is written to it: a file that was cut under its loop device, less. */
  get backedBytes(): number {
    const { sizeBytes } = this.device;
    return Math.min(sizeBytes, wholeSectors(this.#fileBytes() ?? sizeBytes));
  }

  /** The size of the file that the device shows; null where it shows none, or it cannot be reached from here. */
  #fileBytes(): number | null {
    const kernel = this.#kernel;
    const [image, device] = [this.#image, this.device];
    if (image !== null && image.fd !== null) return statFd(kernel, image.fd).sizeBytes;
    if (!device.name.startsWith("loop")) return null;
    return withBackingFile(kernel, device, (fd) => {
      const status = statFd(kernel, fd);
      return isRegularFile(status) ? status.sizeBytes : null;
    });
  }

  /** What to call it in a message: the device, or the image that has none yet. */
  get path(): string {
    return this.#device?.path ?? this.#image?.path ?? "";
  }

  get isImage(): boolean {
    return this.#image !== null;
  }

  /** An image that does not exist yet. */
  get isMissing(): boolean {
    return this.#image !== null && this.#image.fd === null && !this.#image.isDeleted;
  }

  get readOnly(): boolean {
    return this.#device?.readOnly ?? false;
  }

  /** The device as an image will have it too once it is prepared. */
  get disk(): Disk {
    const image = this.#image;
    if (image !== null && this.#device === null) return imageDisk(this.#kernel, image);
    const { fd, sizeBytes, sectorBytes } = this.device;
    const disk = deviceDisk(this.#kernel, fd, sizeBytes);
    if (image === null || image.fd === null) {
      return this.device.name.startsWith("loop")
        ? loopDisk(this.#kernel, disk, this.device.name)
        : disk;
    }
    const file = { fd: image.fd, fileBytes: wholeSectors(image.fileBytes, sectorBytes) };
    const wantedBytes = this.#prepared ? sizeBytes : wholeSectors(image.wantedBytes, sectorBytes);
    return attachedDisk(this.#kernel, file, disk, wantedBytes);
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
    if (image.isDeleted) return changes;
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
    if (this.#device === null) {
      this.#attach(image.path, image.fd, image, progress);
    } else {
      this.#growAttached(image.fd, image);
      if (this.#device.sizeBytes < this.disk.sizeBytes) {
        refreshLoopSize(this.#kernel, this.#device.fd);
        this.#resized = true;
        this.#device = reopenDevice(this.#kernel, this.#device);
      }
    }
    this.#prepared = true;
    return { ...planned, detail: `${planned.detail} (${this.path})` };
  }

  #grow(fd: number, { path, fileBytes, wantedBytes }: OpenImage): void {
    if (wantedBytes <= fileBytes) return;
    growImage(this.#kernel, fd, path, wantedBytes);
    this.#resized = true;
    // A filesystem that grew while power took back the size of its file would be larger than its disk.
    if (fileBytes > 0) this.#kernel.fsync(fd);
  }

  #growAttached(fd: number, image: OpenImage): void {
    if (image.wantedBytes <= image.fileBytes) return;
    withFd(this.#kernel, openForWriting(this.#kernel, fd, image.path), (writable) => {
      this.#grow(writable, image);
    });
  }

  #attach(path: string, fd: number, image: OpenImage, progress: Progress): void {
    const kernel = this.#kernel;
    // Locked before it grows: a virtual machine that has it must not see another size.
    withFd(kernel, openBacking(kernel, fd, path), (backing) => {
      this.#grow(backing, image);
      const loop = attachImage(kernel, backing, path);
      try {
        this.#device = openedDevice(kernel, loop.path, loop.fd);
        if (this.#device === null) throw new SystemError("open", Errno.ENXIO, loop.path);
      } catch (error) {
        this.#strayLoop = loop.path;
        withFd(kernel, loop.fd, () => detachLoop(kernel, loop.fd));
        this.#strayLoop = null;
        throw error;
      }
      this.#hasAttached = true;
      lock(kernel, this.#device.fd, loop.path, progress);
    });
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
    const isMade = this.goesOnFailure;
    if (this.#strayLoop !== null) {
      note(
        `${this.#strayLoop} could not be put back: it is still attached to ${image?.path ?? ""}`,
      );
    }
    try {
      const path = this.#device?.path;
      if (this.#hasAttached) this.detach();
      this.#closeDevice();
      // Before the lock goes: a run that waits for it must see that the file is gone.
      if (image !== null && image.fd !== null && isMade) {
        return removeImage(this.#kernel, image.fd, image.path, note);
      }
      if (this.#hasAttached && this.#resized) note(`${path} was detached again after the failure`);
      return !this.#resized;
    } catch (error) {
      note(`${image?.path ?? ""} could not be put back as it was: ${String(error)}`);
      return false;
    } finally {
      this.#closeDevice();
      this.#closeImage();
    }
  }

  /** Detaches the loop device of an image; gives its path, null when there is none. */
  detach(): string | null {
    if (this.#image === null || this.#device === null) return null;
    const { path, fd } = this.#device;
    try {
      // It goes when the last descriptor is closed, which had better be ours.
      detachLoop(this.#kernel, fd);
      return path;
    } finally {
      this.#closeDevice();
    }
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
function loopDeviceOf(kernel: Kernel, image: OpenImage): OpenDevice | null {
  if (image.loopPath === null) return null;
  const device = openDeviceNow(kernel, image.loopPath);
  // Attached once more, the file would be two disks, each with a cache of its own.
  if (device === null) throw goneLoop(image.loopPath, image.path);
  try {
    assertShowsImage(kernel, device, image);
    return device;
  } catch (error) {
    kernel.close(device.fd);
    throw error;
  }
}

/** The number of a loop device is used again for another file once it was detached. */
function assertShowsImage(kernel: Kernel, device: OpenDevice, { path, fd }: OpenImage): void {
  const isThere =
    fd === null
      ? deletedFileOf(kernel, device.name) !== null
      : showsWhole(kernel, device.fd, statFd(kernel, fd));
  if (!isThere) throw goneLoop(device.path, path);
}

const goneLoop = (loopPath: string, path: string): VolumeError =>
  new VolumeError("busy", `${loopPath} went away while the image ${path} was opened`, {
    hint: "run the command again",
  });

/** Opens the disk of an operation and puts it into the report. */
export function openSource(context: Context): Source {
  assertOptions(context.options);
  const source = Source.open(context);
  context.recorder.disk(source.path, source.bytesNow, source.asFound());
  return source;
}
