import { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { headOrNull, readTextOrNull } from "../linux/files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type FileStatus, type Kernel } from "../linux/kernel.ts";
import {
  findEntry,
  hasNoFilesTest,
  otherFileTables,
  ownProcessId,
  processIds,
  processText,
} from "../linux/processes.ts";

/** A process that is in the way. */
export interface Opener {
  /** null where it cannot be seen from here. */
  readonly pid: string | null;
  /** "process 4711 (qemu-system-x86) of the user 1000" */
  readonly text: string;
}

/** It can be seen, and is not this program: an open file of our own tells of nobody. */
export const isOther = (kernel: Kernel, { pid }: Opener): boolean =>
  pid !== null && pid !== ownProcessId(kernel);

export const unseen: Opener = { pid: null, text: "another program" };

/** proc_pid_fdinfo(5): what /proc says of one open file of a process. */
export type OpenFileTest = (info: string) => boolean;

/** fcntl.h: O_WRONLY and O_RDWR, in octal digits. */
export const isForWriting: OpenFileTest = (info) => /^flags:\s*[0-7]*[12]$/m.test(info);

/** "lock:	1: OFDLCK ADVISORY  READ -1 fe:00:4711 100 100": also in a process that has a copy of the descriptor. */
export const isLocking: OpenFileTest = (info) => /^lock:\s/m.test(info);

/** A process with its name and its user: what one has to know to end it, or to ask whose it is. */
export function openerText(kernel: Kernel, pid: string): string {
  const status = readTextOrNull(kernel, `/proc/${pid}/status`) ?? "";
  // Real, effective, saved, and of the filesystem.
  const user = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const whose = user === undefined ? "" : ` of ${user === "0" ? "root" : `the user ${user}`}`;
  return `${processText(kernel, pid)}${whose}`;
}

/** So long is waited for what is about to go, and so often it is looked at. */
const momentMs = 500;
const pauseMs = 50;

/**
 * Looks again for a moment, unless it is sure: a tool opens a disk only to ask for its size, and the kernel lets go of
 * the locks of a process that has ended only when its last request to a disk has. null when nothing is there any more.
 */
export function stillThere(
  kernel: Kernel,
  look: () => Opener | null,
  isSure: (opener: Opener) => boolean = () => false,
): Opener | null {
  const until = new Deadline(kernel, momentMs);
  for (;;) {
    const found = look();
    if (found === null || isSure(found) || until.isOver) return found;
    kernel.waitReadable([], pauseMs);
  }
}

const lookMs = 1500;

/** The first process that has a file open in such a way, ourselves last; null when none can be seen. */
export const openerOf = (
  kernel: Kernel,
  { inode, device }: FileStatus,
  isMeant: OpenFileTest,
): Opener | null =>
  openerOfAny(kernel, (found) => found.inode === inode && found.device === device, isMeant);

/** The same of one of several files, or of the devices that nodes stand for. */
export function openerOfAny(
  kernel: Kernel,
  isOneOf: (file: FileStatus) => boolean,
  isMeant: OpenFileTest,
): Opener | null {
  const until = new Deadline(kernel, lookMs);
  const self = ownProcessId(kernel);
  const others = processIds(kernel).filter((pid) => pid !== self);
  const hasNoFiles = hasNoFilesTest(kernel);
  const has = (folder: string) =>
    hasNoFiles(folder) ? "none" : openIn(kernel, folder, isOneOf, isMeant, until);
  // Threads have one table of files together, unless one took its own. Who hides one hides all.
  const hasAny = (pid: string): boolean => {
    const found = has(`/proc/${pid}`);
    if (found !== "none") return found === "open";
    return otherFileTables(kernel, pid).some((folder) => has(folder) === "open");
  };
  const pid = [...others, self].find((id) => id !== "" && !until.isOver && hasAny(id));
  return pid === undefined ? null : { pid, text: openerText(kernel, pid) };
}

function openIn(
  kernel: Kernel,
  folder: string,
  isOneOf: (file: FileStatus) => boolean,
  isMeant: OpenFileTest,
  until: Deadline,
): "open" | "none" | "hidden" {
  let isHidden = false;
  const isThis = (name: string): boolean => {
    const found = lookAt(kernel, `${folder}/fd/${name}`);
    isHidden = found === "hidden";
    if (found === null || found === "hidden" || !isOneOf(found)) return isHidden;
    const info = headOrNull(kernel, `${folder}/fdinfo/${name}`);
    return info !== null && isMeant(info);
  };
  const entry = findEntry(kernel, `${folder}/fd`, until, isThis);
  if (entry === null) return "none";
  return isHidden ? "hidden" : "open";
}

/** What a link leads to, without asking a filesystem that may not answer; "hidden" where we may not look. */
function lookAt(kernel: Kernel, link: string): FileStatus | "hidden" | null {
  try {
    return kernel.statx(AT_FDCWD, link, AT_STATX_DONT_SYNC);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return isErrno(error, Errno.EACCES) && !isReadable(kernel, link) ? "hidden" : null;
  }
}

/** A FUSE filesystem may refuse to tell of a file of its own; then the link itself can be read. */
function isReadable(kernel: Kernel, link: string): boolean {
  try {
    kernel.readlink(link);
    return true;
  } catch (error) {
    return !isErrno(error, Errno.EACCES);
  }
}
