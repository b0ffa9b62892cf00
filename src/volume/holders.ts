import type { Deadline } from "../linux/deadline.ts";
import { SystemError } from "../linux/errno.ts";
import { unescaped } from "../linux/escapes.ts";
import { namesIn, readTextOrNull } from "../linux/files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type Kernel } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";
import {
  findEntry,
  ownProcessId,
  processIds,
  processText,
  threadFolders,
} from "../linux/processes.ts";

/** Somebody who keeps a mount in use. */
export interface Holder {
  /** "process 4711 (dockerd)", "loop device /dev/loop3" */
  readonly who: string;
  /** "works in it", "has a file of it open" */
  readonly how: string;
}

/** Whether a link of /proc/PID leads into one of the mounts, without opening or asking what it leads to. */
type LeadsInside = (link: string) => boolean;

function leadsInto(kernel: Kernel, mounts: ReadonlySet<number>): LeadsInside {
  return (link) => {
    try {
      return mounts.has(kernel.statx(AT_FDCWD, link, AT_STATX_DONT_SYNC).mountId);
    } catch (error) {
      // The process or the file is gone, it is a kernel thread, or its filesystem is dead.
      if (error instanceof SystemError) return false;
      throw error;
    }
  };
}

/** What a thread has for itself, or shares with the others of its process. */
function useByPlace(folder: string, isInside: LeadsInside): string | null {
  if (isInside(`${folder}/cwd`)) return "works in it";
  if (isInside(`${folder}/root`)) return "has its root in it";
  return isInside(`${folder}/exe`) ? "is a program on it" : null;
}

const hasFileInside = (
  kernel: Kernel,
  folder: string,
  isInside: LeadsInside,
  until: Deadline,
): boolean => findEntry(kernel, folder, until, (name) => isInside(`${folder}/${name}`)) !== null;

type Look = (folder: string) => string | null;

/** What one look at the first thread of each process, or at the others, finds. */
function found(kernel: Kernel, look: Look, isFirst: boolean, until: Deadline): readonly Holder[] {
  const self = ownProcessId(kernel);
  const holders: Holder[] = [];
  for (const pid of processIds(kernel)) {
    if (until.isOver) break;
    const folders = threadFolders(kernel, pid);
    const how = (isFirst ? folders.slice(0, 1) : folders.slice(1))
      .map(look)
      .find((use) => use !== null);
    if (how === undefined || how === null) continue;
    holders.push({ who: pid === self ? "this command itself" : processText(kernel, pid), how });
  }
  return holders;
}

/**
 * The processes that keep one of these mounts in use, as far as that can be seen without waiting for anybody: not
 * who only has a file of it mapped, because the map of a process may be locked for good. What is
 * quick to ask is asked first, and who is found so is enough.
 */
export function processesIn(
  kernel: Kernel,
  mountIds: ReadonlySet<number>,
  until: Deadline,
): readonly Holder[] {
  const isInside = leadsInto(kernel, mountIds);
  const place: Look = (folder) => useByPlace(folder, isInside);
  const file: Look = (folder) =>
    hasFileInside(kernel, `${folder}/fd`, isInside, until) ? "has a file of it open" : null;
  // Threads have one table of files and one working directory together, unless one took its own.
  const looks: readonly (readonly [Look, isFirst: boolean])[] = [
    [(folder) => place(folder) ?? file(folder), true],
    [place, false],
    [file, false],
  ];
  for (const [look, isFirst] of looks) {
    const holders = found(kernel, look, isFirst, until);
    if (holders.length > 0) return holders;
  }
  return [];
}

const isBelow = (file: string, mounts: readonly Mount[]): boolean =>
  mounts.some(({ path }) => file.startsWith(`${path}/`));

/** Loop devices whose backing file is in one of these mounts: the kernel itself keeps the file open. */
export function loopsIn(kernel: Kernel, mounts: readonly Mount[]): readonly Holder[] {
  return namesIn(kernel, "/sys/block").flatMap((name) => {
    const file = readTextOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
    return file !== null && isBelow(file, mounts)
      ? [{ who: `loop device /dev/${name}`, how: `is backed by ${file}` }]
      : [];
  });
}

/** Files in these mounts that the kernel swaps to (proc_swaps(5)): no process has them open. */
export function swapsIn(kernel: Kernel, mounts: readonly Mount[]): readonly Holder[] {
  const [, ...lines] = (readTextOrNull(kernel, "/proc/swaps") ?? "").split("\n");
  return lines
    .map((line) => unescaped(line.split(/\s/)[0] ?? ""))
    .filter((file) => isBelow(file, mounts))
    .map((file) => ({ who: "the kernel", how: `swaps to ${file} (swapoff)` }));
}

/** A sentence's worth of holders; the rest is counted. */
export const holdersText = (holders: readonly Holder[]): string =>
  some(
    holders.map(({ who, how }) => `${who} ${how}`),
    "; ",
  );

/** So many of a list as a person reads, and how many more there are. */
export function some(names: readonly string[], separator: string): string {
  const limit = 8;
  const rest = names.length - limit;
  return [...names.slice(0, limit), ...(rest > 0 ? [`${rest} more`] : [])].join(separator);
}
