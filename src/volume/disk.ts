import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { readExactly } from "../linux/files.ts";
import { type Kernel, SEEK_DATA, SEEK_HOLE } from "../linux/kernel.ts";

/** Bytes that can be looked at: a block device, an image file, or an array in a test. */
export interface Disk {
  readonly sizeBytes: number;
  /**
   * The bytes from `offset`, fewer at the end of the disk. Throws a SystemError when
   * the disk cannot be read there. They may stand in `into`, where it is given and long enough: who
   * looks at much and keeps none of it saves the making of many buffers.
   */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array;
  /** Says that this will be read soon, so that a disk answers many reads at once and not one by one. */
  readAhead?(offset: number, length: number): void;
  /** For a file, or a device that shows one: the ranges that its filesystem says hold data. */
  dataRanges?(): Iterable<readonly [start: number, end: number]>;
  /** For a disk that is still to grow: the disk as it is now. All beyond its end will be zeros. */
  readonly grownFrom?: Disk;
}

/** A disk whose size is NaN would give no bytes at all, which would pass for nothing but zeros. */
function assertSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes)) throw new RangeError(`a disk of ${sizeBytes} bytes`);
}

export function deviceDisk(kernel: Kernel, fd: number, sizeBytes: number): Disk {
  assertSize(sizeBytes);
  return {
    sizeBytes,
    readAhead: (offset, length) => kernel.readAhead(fd, offset, length),
    read(offset, length, into) {
      const wanted = Math.max(0, Math.min(length, sizeBytes - offset));
      const fits = into !== undefined && into.length >= wanted;
      const buffer = fits ? into.subarray(0, wanted) : new Uint8Array(new ArrayBuffer(wanted));
      // A device that ends before its size is not a disk full of zeros.
      if (!readExactly(kernel, fd, buffer, offset)) throw new SystemError("pread", Errno.EIO);
      return buffer;
    },
  };
}

/** A disk as it will be once it has grown: what it does not have yet reads as zeros. */
function grownDisk(disk: Disk, sizeBytes: number): Disk {
  assertSize(sizeBytes);
  return {
    sizeBytes,
    ...(sizeBytes > disk.sizeBytes ? { grownFrom: disk } : {}),
    readAhead: (offset, length) => disk.readAhead?.(offset, length),
    read(offset, length, into) {
      const wanted = Math.max(0, Math.min(length, sizeBytes - offset));
      if (offset + wanted <= disk.sizeBytes) return disk.read(offset, wanted, into);
      const buffer = new Uint8Array(wanted);
      if (offset < disk.sizeBytes) buffer.set(disk.read(offset, wanted));
      return buffer;
    },
  };
}

/** The disk as it would be with this block at `place`. */
export const withBlock = (disk: Disk, place: number, block: Uint8Array): Disk => ({
  ...disk,
  read(offset, length) {
    const bytes = disk.read(offset, length);
    const from = Math.max(place, offset);
    const to = Math.min(place + block.length, offset + bytes.length);
    if (from < to) bytes.set(block.subarray(from - place, to - place), from - offset);
    return bytes;
  },
});

/** The ranges of a file that hold data, as the file has them when they are asked for. */
export function* dataRangesOf(kernel: Kernel, fd: number): Generator<readonly [number, number]> {
  for (let from = 0; ; ) {
    let start: number;
    try {
      start = kernel.lseek(fd, from, SEEK_DATA);
    } catch (error) {
      // No data behind this offset.
      if (isErrno(error, Errno.ENXIO)) return;
      throw error;
    }
    const end = kernel.lseek(fd, start, SEEK_HOLE);
    // A filesystem that answers nonsense (FUSE) would have us ask for ever.
    if (start < from || end <= start) throw new SystemError("lseek", Errno.EIO);
    yield [start, end];
    from = end;
  }
}

/**
 * An image file as the disk it is, or, when `sizeBytes` is larger than the file, as the
 * disk it will be once it has grown.
 */
export const fileDisk = (
  kernel: Kernel,
  fd: number,
  fileBytes: number,
  sizeBytes: number,
): Disk => ({
  ...grownDisk(deviceDisk(kernel, fd, fileBytes), sizeBytes),
  dataRanges: () => dataRangesOf(kernel, fd),
});

/** The one up to its end, and the other from there on: a loop device whose file has grown since. */
const continued = (disk: Disk, rest: Disk): Disk => ({
  sizeBytes: rest.sizeBytes,
  readAhead: (offset, length) => disk.readAhead?.(offset, length),
  read(offset, length, into) {
    const inFirst = Math.max(0, Math.min(length, disk.sizeBytes - offset));
    if (inFirst === length) return disk.read(offset, length, into);
    if (inFirst === 0) return rest.read(offset, length, into);
    const start = disk.read(offset, inFirst).slice();
    const end = rest.read(offset + inFirst, length - inFirst);
    const buffer = new Uint8Array(start.length + end.length);
    buffer.set(start);
    buffer.set(end, start.length);
    return buffer;
  },
});

/**
 * The loop device of an image file of `fileBytes`: read through the device as far as that goes, but the file
 * knows where it has data.
 */
export function attachedDisk(
  kernel: Kernel,
  file: { readonly fd: number; readonly fileBytes: number },
  device: Disk,
  sizeBytes: number,
): Disk {
  const { fd, fileBytes } = file;
  const isLonger = fileBytes > device.sizeBytes;
  const disk = isLonger ? continued(device, deviceDisk(kernel, fd, fileBytes)) : device;
  return {
    ...grownDisk(disk, Math.max(disk.sizeBytes, sizeBytes)),
    dataRanges: () => dataRangesOf(kernel, fd),
  };
}
