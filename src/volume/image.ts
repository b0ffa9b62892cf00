import { Errno, isErrno, reasonOf, SystemError } from "../linux/errno.ts";
import { pathOf, procPath, statFd, statOrNull, withFd } from "../linux/files.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  type FileStatus,
  isRegularFile,
  type Kernel,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
} from "../linux/kernel.ts";
import { isOpenFolder, isOurOwn } from "../linux/links.ts";
import {
  type AttachedLoop,
  attachLoop,
  loopByOverlay,
  loopsOf,
  loopsOfDeleted,
} from "../linux/loop.ts";
import type { Progress } from "./context.ts";
import { type Disk, fileDisk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { lockImage } from "./image-locks.ts";
import { assertNoWriter } from "./image-writers.ts";
import { lock } from "./lock.ts";
import { openWithoutLinks } from "./planted-links.ts";
import { shellWord } from "./shell-word.ts";
import { comparedSizes, sizeText } from "./size.ts";

/** A file used as a disk, open and locked. */
export interface OpenImage {
  readonly path: string;
  /** null in a plan for an image that does not exist yet. */
  readonly fd: number | null;
  readonly fileBytes: number;
  /** The size it shall have; never less than `fileBytes`. */
  readonly wantedBytes: number;
  /** This run made the file: it goes again if the run fails before it held anything. */
  readonly created: boolean;
  /** The loop device it is attached to already. */
  readonly loopPath: string | null;
  /** The file was deleted, and `loopPath` has the only copy of it. */
  readonly isDeleted: boolean;
}

const ownerOnly = 0o600;

interface ImageRequest {
  readonly path: string;
  readonly sizeBytes: number | undefined;
  readonly defaultBytes: number;
  /** A missing file is made only when acting. */
  readonly acting: boolean;
  readonly locking: boolean;
  readonly progress: Progress;
  readonly note: (text: string) => void;
}

function refuseOpen(path: string, error: unknown): never {
  if (isErrno(error, Errno.ELOOP)) {
    throw new VolumeError("usage", `the image ${path} is a symbolic link`, {
      cause: error,
      hint: "give the file itself, so that nobody can point the link elsewhere",
    });
  }
  if (isErrno(error, Errno.EISDIR)) {
    throw new VolumeError("usage", `the image ${path} is a directory`, { cause: error });
  }
  if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR)) {
    throw new VolumeError("device-missing", `the folder of the image ${path} does not exist`, {
      cause: error,
      hint: "make the folder first",
    });
  }
  if (isErrno(error, Errno.EACCES, Errno.EPERM)) {
    throw new VolumeError("permission", `the image ${path} cannot be opened: permission denied`, {
      cause: error,
      // To root only an attribute of the file says EPERM (open(2)).
      hint: isErrno(error, Errno.EPERM)
        ? "see lsattr: an image must be neither immutable nor append-only (chattr -ia)"
        : "run it as root",
    });
  }
  if (isErrno(error, Errno.ENOSPC, Errno.EDQUOT)) {
    throw new VolumeError("no-space", `there is no space to make the image ${path}`, {
      cause: error,
      hint: "free some space or inodes on the filesystem it shall lie on, or give another path",
    });
  }
  if (isErrno(error, Errno.EAGAIN)) {
    // open(2) with O_NONBLOCK: another process has a lease on the file.
    throw new VolumeError(
      "busy",
      `the image ${path} is in use: another program has a lease on it`,
      {
        cause: error,
        hint: `see who has it open (lslocks; fuser -v ${path}) and stop that first`,
      },
    );
  }
  if (isErrno(error, Errno.EROFS)) {
    throw new VolumeError("read-only", `the image ${path} is on a read-only filesystem`, {
      cause: error,
    });
  }
  throw new VolumeError("unreadable", `the image ${path} cannot be opened: ${reasonOf(error)}`, {
    cause: error,
  });
}

type OpenFile =
  | { readonly fd: number; readonly created: boolean }
  /** It does not exist. `loopPath`: a loop device still shows the one that was deleted. */
  | { readonly fd: null; readonly loopPath: string | null };

/** Opens the file, made if it is missing and the mode allows. */
function openFile(kernel: Kernel, { path, acting }: ImageRequest): OpenFile {
  // For reading only, also where it will be written to: so the kernel can say whether others write to it.
  const access = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const open = (flags: number): number =>
    openWithoutLinks(kernel, "--image", path, flags, (flags & O_CREAT) === 0 ? 0 : ownerOnly);
  for (;;) {
    try {
      return { fd: open(access), created: false };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (!isErrno(error, Errno.ENOENT)) refuseOpen(path, error);
      // A new file under the name of one that a loop device still shows would be a second volume.
      const loopPath = deletedLoopOf(kernel, path);
      if (loopPath !== null) return { fd: null, loopPath };
      if (statOrNull(kernel, folderOf(path)) === null) refuseOpen(path, error);
      if (!acting) return { fd: null, loopPath };
    }
    try {
      return { fd: open(access | O_CREAT | O_EXCL), created: true };
    } catch (error) {
      // Another run made it between the two: open that one.
      if (!(error instanceof SystemError)) throw error;
      if (!isErrno(error, Errno.EEXIST)) refuseOpen(path, error);
    }
  }
}

/** The whole-file loop device of an image; an image attached in part was not attached by this program. */
function loopPathOf(loops: readonly AttachedLoop[], path: string): string | null {
  if (loops.length > 1) {
    const paths = loops.map((loop) => loop.path).join(", ");
    throw new VolumeError("busy", `the image ${path} is attached more than once: ${paths}`, {
      hint: "see which one is in use (lsblk), and detach the others: losetup -d DEVICE",
    });
  }
  const [loop] = loops;
  if (loop?.partial === true) {
    throw new VolumeError(
      "busy",
      `the image ${path} is attached to ${loop.path} in part, and not as a whole`,
      {
        hint: `see what uses it (lsblk ${loop.path}), then detach it: losetup -d ${loop.path}`,
      },
    );
  }
  return loop?.path ?? null;
}

/** Throws `busy` when an image is attached by another name that it has in, or below, an overlay. */
function assertNoOtherName(kernel: Kernel, image: number, path: string): void {
  const loop = loopByOverlay(kernel, procPath(image));
  if (loop === null) return;
  const { file } = loop;
  throw new VolumeError(
    "busy",
    `the image ${path} is attached to ${loop.path} already, as ${file}: one is the other's name on an overlay`,
    {
      hint: `use that name: --image ${shellWord(file)}; or detach it first: losetup -d ${loop.path}`,
    },
  );
}

/** The size to give the image, which never gets smaller. */
export function decideImageBytes(
  fileBytes: number,
  request: Pick<ImageRequest, "sizeBytes" | "defaultBytes">,
): number {
  const asked = request.sizeBytes ?? (fileBytes === 0 ? request.defaultBytes : fileBytes);
  return Math.max(asked, fileBytes);
}

/**
 * Removes an image that this run made. Its folder is held open and the file is looked at first:
 * whoever turned the path elsewhere meanwhile loses nothing there. False, and a note, when it stays.
 */
export function removeImage(
  kernel: Kernel,
  fd: number,
  path: string,
  note: (text: string) => void,
): boolean {
  const slash = path.lastIndexOf("/");
  const folderPath = slash < 0 ? "." : path.slice(0, slash + 1);
  try {
    return withFd(kernel, kernel.open(folderPath, O_PATH | O_DIRECTORY), (folder) => {
      const there = `${procPath(folder)}/${path.slice(slash + 1)}`;
      const [found, own] = [statOrNull(kernel, there, AT_SYMLINK_NOFOLLOW), statFd(kernel, fd)];
      if (found?.inode === own.inode && found.device === own.device) {
        kernel.unlink(there);
        return true;
      }
      note(`the new image ${path} was moved meanwhile, and is left there`);
      return false;
    });
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    note(`the new image ${path} could not be removed: ${reasonOf(error)}`);
    return false;
  }
}

/** Locks an open image; gives the descriptor that has the lock. */
function lockFile(kernel: Kernel, fd: number, { path, progress }: ImageRequest): number {
  try {
    lock(kernel, fd, path, progress);
    return fd;
  } catch (error) {
    if (!isErrno(error, Errno.EBADF)) throw error;
  }
  // On NFS only who may write can lock (flock(2)).
  const writable = openForWriting(kernel, fd, path);
  let done = false;
  try {
    lock(kernel, writable, path, progress);
    done = true;
  } finally {
    kernel.close(done ? fd : writable);
  }
  return writable;
}

/** Opens and locks the image. */
export function openImage(kernel: Kernel, request: ImageRequest): OpenImage {
  const { path } = request;
  for (;;) {
    const file = openFile(kernel, request);
    if (file.fd === null) {
      const wantedBytes = decideImageBytes(0, request);
      const { loopPath } = file;
      const isDeleted = loopPath !== null;
      return { path, fd: null, fileBytes: 0, wantedBytes, created: false, loopPath, isDeleted };
    }
    const { created } = file;
    let { fd } = file;
    // Only a file that is still as it was made may go again: before the lock another run can have used it.
    let isNew = false;
    let done = false;
    try {
      if (!isRegularFile(statFd(kernel, fd))) {
        throw new VolumeError("usage", `the image ${path} is not a regular file`, {
          hint: "to use a disk, give it with --device",
        });
      }
      if (request.locking) fd = lockFile(kernel, fd, request);
      const status = statFd(kernel, fd);
      // A run that failed took its new file away while we waited for the lock.
      if (status.linkCount === 0) continue;
      const fileBytes = status.sizeBytes;
      assertCountable(path, fileBytes);
      isNew = created && fileBytes === 0;
      if (request.sizeBytes !== undefined && request.sizeBytes < fileBytes) {
        const sizes = comparedSizes(fileBytes, request.sizeBytes).join(", not ");
        request.note(`the image stays at ${sizes}: an image is never made smaller`);
      }
      noteOtherWriters(kernel, path, status, request.note);
      noteOpenFolder(kernel, fd, request.note);
      const wantedBytes = decideImageBytes(fileBytes, request);
      const loopPath = loopPathOf(loopsOf(kernel, status, path), path);
      if (loopPath === null) assertNoOtherName(kernel, fd, path);
      done = true;
      const isDeleted = false;
      return { path, fd, fileBytes, wantedBytes, created: isNew, loopPath, isDeleted };
    } finally {
      if (!done) {
        if (isNew) removeImage(kernel, fd, path, request.note);
        else if (created) request.note(`the image ${path}, which this run made, is left there`);
        kernel.close(fd);
      }
    }
  }
}

const writableByOthers = 0o022;

/** Whoever may write to the image can put anything into the volume, programs of root's too. */
function noteOtherWriters(
  kernel: Kernel,
  path: string,
  { owner, mode }: FileStatus,
  note: (text: string) => void,
): void {
  if (!isOurOwn(kernel, { owner })) {
    note(
      `the image ${path} belongs to the user ${owner}, who can change anything in the volume; ` +
        `to keep it to root: chown root ${shellWord(path)}`,
    );
  }
  if ((mode & writableByOthers) !== 0) {
    note(
      `others may write to the image ${path}, and so change anything in the volume; ` +
        `to keep it to its owner: chmod go-w ${shellWord(path)}`,
    );
  }
}

/** Whoever may write to a folder on the way to the image can put another file, or another folder, in its place. */
function noteOpenFolder(kernel: Kernel, image: number, note: (text: string) => void): void {
  for (const folder of foldersAbove(pathOf(kernel, image))) {
    // The image was moved away meanwhile.
    const status = statOrNull(kernel, folder);
    if (status === null) return;
    const isOurs = isOurOwn(kernel, status);
    if (isOurs && !isOpenFolder(status)) continue;
    const [whose, remedy] = isOurs
      ? ["is open to other users", "chmod go-w"]
      : [`belongs to the user ${status.owner}`, "chown root"];
    note(
      `the folder ${folder} on the way to the image ${whose}, who can put another file in its place; ` +
        `to keep that to root: ${remedy} ${shellWord(folder)}`,
    );
    return;
  }
}

/** "/", "/srv" and "/srv/images" of "/srv/images/data.img". */
const foldersAbove = (path: string): readonly string[] =>
  [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, Math.max(1, index)));

/** Numbers are exact to 8 PiB. */
function assertCountable(path: string, bytes: number): void {
  if (Number.isSafeInteger(bytes)) return;
  throw new VolumeError(
    "unsupported",
    `the image ${path} is larger than 8 PiB: ${sizeText(bytes)}`,
    {
      hint: "give a smaller image",
    },
  );
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/") + 1);

/** Opens the folder of a path, gives the descriptor to `use`, and closes it. */
export const withFolder = <T>(kernel: Kernel, path: string, use: (fd: number) => T): T =>
  withFd(kernel, kernel.open(folderOf(path), O_PATH | O_DIRECTORY), use);

/** A path with the links on the way to it resolved, as the kernel shows it. */
function realPathOf(kernel: Kernel, path: string): string {
  try {
    const real = withFolder(kernel, path, (folder) => pathOf(kernel, folder));
    return `${real === "/" ? "" : real}${path.slice(path.lastIndexOf("/"))}`;
  } catch (error) {
    // The folder was deleted too.
    if (isErrno(error, Errno.ENOENT, Errno.ENOTDIR, Errno.EACCES)) return path;
    throw error;
  }
}

/** The one loop device that still shows a deleted image; null when there is none. */
function deletedLoopOf(kernel: Kernel, path: string): string | null {
  const loops = loopsOfDeleted(kernel, realPathOf(kernel, path));
  const [loop, ...others] = loops;
  if (others.length === 0) return loop ?? null;
  throw new VolumeError("busy", `the image ${path} was deleted, and is on ${loops.join(", ")}`, {
    hint: "see which one is in use (lsblk), save the others, and detach them: losetup -d DEVICE",
  });
}

/** Opens an image once more, for writing. */
export function openForWriting(kernel: Kernel, image: number, path: string): number {
  try {
    return kernel.open(procPath(image), O_RDWR | O_NONBLOCK);
  } catch (error) {
    refuseOpen(path, error);
  }
}

/**
 * Opens the image for a loop device to keep, and locks it. Opened anew: the flock of this run is to end with
 * the run.
 */
export function openBacking(kernel: Kernel, image: number, path: string): number {
  assertNoWriter(kernel, image, path);
  const backing = openForWriting(kernel, image, path);
  try {
    lockImage(kernel, backing, path);
    return backing;
  } catch (error) {
    kernel.close(backing);
    throw error;
  }
}

/** Gives the image its size. */
export function growImage(kernel: Kernel, fd: number, path: string, sizeBytes: number): void {
  try {
    kernel.ftruncate(fd, sizeBytes);
  } catch (error) {
    if (!isErrno(error, Errno.EFBIG)) throw error;
    throw new VolumeError("usage", `the image ${path} cannot have ${sizeText(sizeBytes)}: EFBIG`, {
      cause: error,
      hint: "the filesystem it lies on, or ulimit -f, allows no file of that size: give a smaller --size",
    });
  }
}

/** Attaches the open image to a free loop device. */
export function attachImage(
  kernel: Kernel,
  backing: number,
  path: string,
): ReturnType<typeof attachLoop> {
  try {
    return attachLoop(kernel, backing, path);
  } catch (error) {
    const { ENOENT, ENXIO, ENODEV, ENOTTY } = Errno;
    if (!isErrno(error, ENOENT, ENXIO, ENODEV, ENOTTY)) throw error;
    const why = `the image ${path} cannot be attached to a loop device: ${error.message}`;
    throw new VolumeError("unsupported", why, {
      cause: error,
      hint: "load the module (modprobe loop); a container also needs the nodes in /dev: loop-control, loop0, …",
    });
  }
}

/** A loop device has whole sectors; what a file has beyond them is not part of the disk. */
export const wholeSectors = (bytes: number, sectorBytes = 512): number =>
  Math.floor(bytes / sectorBytes) * sectorBytes;

/** The image as a disk of the size it shall have. */
export function imageDisk(kernel: Kernel, image: OpenImage): Disk {
  const sizeBytes = wholeSectors(image.wantedBytes);
  if (image.fd !== null) return fileDisk(kernel, image.fd, image.fileBytes, sizeBytes);
  const read = (offset: number, length: number): Uint8Array =>
    new Uint8Array(Math.max(0, Math.min(length, sizeBytes - offset)));
  return { sizeBytes, read, dataRanges: () => [] };
}
