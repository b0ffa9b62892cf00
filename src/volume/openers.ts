import { Deadline } from "../linux/deadline.ts";
import { SystemError } from "../linux/errno.ts";
import { headOrNull, readTextOrNull } from "../linux/files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type FileStatus, type Kernel } from "../linux/kernel.ts";
import {
  findEntry,
  ownProcessId,
  processIds,
  processText,
  threadFolders,
} from "../linux/processes.ts";

/** A process that is in the way. */
export interface Opener {
  /** null where it cannot be seen from here. */
  readonly pid: string | null;
  /** "process 4711 (qemu-system-x86) of the user 1000" */
  readonly text: string;
}

export const unseen: Opener = { pid: null, text: "another program" };

/** proc_pid_fdinfo(5): what /proc says of one open file of a process. */
export type OpenFileTest = (info: string) => boolean;

/** fcntl.h: O_WRONLY and O_RDWR, in octal digits. */
export const isForWriting: OpenFileTest = (info) => /^flags:\s*[0-7]*[12]$/m.test(info);

/** "lock:	1: OFDLCK ADVISORY  READ -1 fe:00:4711 100 100", of whoever has a copy of the descriptor. */
export const isLocking: OpenFileTest = (info) => /^lock:\s/m.test(info);

/** A process with its name and its user: what one has to know to end it, or to ask whose it is. */
export function openerText(kernel: Kernel, pid: string): string {
  const status = readTextOrNull(kernel, `/proc/${pid}/status`) ?? "";
  // Real, effective, saved, and of the filesystem.
  const user = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const whose = user === undefined ? "" : ` of ${user === "0" ? "root" : `the user ${user}`}`;
  return `${processText(kernel, pid)}${whose}`;
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
  const find = (folders: (pid: string) => readonly string[]): string | undefined =>
    [...others, self].find(
      (pid) =>
        pid !== "" &&
        !until.isOver &&
        folders(pid).some((folder) => hasOpen(kernel, folder, isOneOf, isMeant, until)),
    );
  // Threads have one table of files together, unless one took its own.
  const pid =
    find((process) => [`/proc/${process}`]) ??
    find((process) => threadFolders(kernel, process).slice(1));
  return pid === undefined ? null : { pid, text: openerText(kernel, pid) };
}

function hasOpen(
  kernel: Kernel,
  folder: string,
  isOneOf: (file: FileStatus) => boolean,
  isMeant: OpenFileTest,
  until: Deadline,
): boolean {
  const isThis = (name: string): boolean => {
    const found = lookAt(kernel, `${folder}/fd/${name}`);
    if (found === null || !isOneOf(found)) return false;
    const info = headOrNull(kernel, `${folder}/fdinfo/${name}`);
    return info !== null && isMeant(info);
  };
  return findEntry(kernel, `${folder}/fd`, until, isThis) !== null;
}

/** What a link leads to, without asking a filesystem that may not answer. */
function lookAt(kernel: Kernel, link: string): FileStatus | null {
  try {
    return kernel.statx(AT_FDCWD, link, AT_STATX_DONT_SYNC);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
