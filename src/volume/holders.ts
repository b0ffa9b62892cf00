import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { unescaped } from "../linux/escapes.ts";
import { namesIn, readTextOrNull } from "../linux/files.ts";
import { AT_FDCWD, AT_STATX_DONT_SYNC, type Kernel } from "../linux/kernel.ts";
import { type Mount, mountLines } from "../linux/mountinfo.ts";

/** Somebody who keeps a filesystem in use. */
export interface Holder {
  /** "process 4711 (dockerd)", "loop device /dev/loop3" */
  readonly who: string;
  /** "works in it", "has a file of it open" */
  readonly how: string;
  /** It only lives in a mount namespace that has a copy of the mounts. */
  readonly onlyByCopy: boolean;
}

/** A table that may belong to a process that has just ended. */
function mountsOf(kernel: Kernel, pid: number | "self"): readonly Mount[] {
  try {
    const mounts: Mount[] = [];
    for (const line of mountLines(kernel, `/proc/${pid}`)) mounts.push(line.mount);
    return mounts;
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.EINVAL, Errno.EACCES, Errno.ESRCH)) return [];
    throw error;
  }
}

/** The mount that a link of /proc/PID leads to, without opening or asking what it leads to. */
function mountIdOf(kernel: Kernel, link: string): number | null {
  try {
    return kernel.statx(AT_FDCWD, link, AT_STATX_DONT_SYNC).mountId;
  } catch (error) {
    // The process or the file is gone, it is a kernel thread, or its filesystem is dead.
    if (error instanceof SystemError) return null;
    throw error;
  }
}

function listing(kernel: Kernel, path: string): string[] {
  try {
    return namesIn(kernel, path);
  } catch (error) {
    if (isErrno(error, Errno.EACCES, Errno.EPERM, Errno.ESRCH)) return [];
    throw error;
  }
}

/** How a process uses one of these mounts; null when it does not. */
function useBy(
  kernel: Kernel,
  pid: number,
  isOurs: (mountId: number | null) => boolean,
): string | null {
  const leadsToUs = (link: string): boolean => isOurs(mountIdOf(kernel, `/proc/${pid}/${link}`));
  if (leadsToUs("cwd")) return "works in it";
  if (leadsToUs("root")) return "has its root in it";
  if (leadsToUs("exe")) return "is a program on it";
  if (listing(kernel, `/proc/${pid}/fd`).some((fd) => leadsToUs(`fd/${fd}`))) {
    return "has a file of it open";
  }
  if (listing(kernel, `/proc/${pid}/map_files`).some((map) => leadsToUs(`map_files/${map}`))) {
    return "has a file of it mapped";
  }
  return null;
}

/** The processes, in every mount namespace, that keep the filesystem of these mounts in use. */
export function holdersOf(kernel: Kernel, isOurs: (mount: Mount) => boolean): readonly Holder[] {
  const ownNamespace = kernel.readlink("/proc/self/ns/mnt");
  const self = kernel.readlink("/proc/self");
  const pids = namesIn(kernel, "/proc").filter((name) => /^\d+$/.test(name) && name !== self);

  // Ids of mounts are unique over all namespaces; processes of one namespace share a table.
  const mountsIn = new Map<string, ReadonlySet<number>>();
  const ofPid = new Map<number, string>();
  for (const pid of pids.map(Number)) {
    const namespace = namespaceOf(kernel, pid);
    if (namespace === null) continue;
    ofPid.set(pid, namespace);
    if (mountsIn.has(namespace)) continue;
    const ours = mountsOf(kernel, pid).filter(isOurs);
    mountsIn.set(namespace, new Set(ours.map(({ id }) => id)));
  }
  const ids = new Set([...mountsIn.values()].flatMap((set) => [...set]));

  const holders: Holder[] = [];
  for (const [pid, namespace] of ofPid) {
    const use = useBy(kernel, pid, (id) => id !== null && ids.has(id));
    const keepsCopy = namespace !== ownNamespace && (mountsIn.get(namespace)?.size ?? 0) > 0;
    const how = use ?? (keepsCopy ? "has it mounted in another mount namespace" : null);
    if (how === null) continue;
    holders.push({ who: processText(kernel, pid), how, onlyByCopy: use === null });
  }
  return holders;
}

function namespaceOf(kernel: Kernel, pid: number): string | null {
  try {
    return kernel.readlink(`/proc/${pid}/ns/mnt`);
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.EACCES, Errno.EPERM, Errno.ESRCH)) return null;
    throw error;
  }
}

const processText = (kernel: Kernel, pid: number): string =>
  `process ${pid} (${readTextOrNull(kernel, `/proc/${pid}/comm`) ?? "it has ended"})`;

const isBelow = (file: string, paths: readonly string[]): boolean =>
  paths.some((path) => file.startsWith(`${path}/`));

/** Loop devices whose backing file is below one of these paths: the kernel itself keeps the file open. */
export function loopsBelow(kernel: Kernel, paths: readonly string[]): readonly Holder[] {
  return namesIn(kernel, "/sys/block").flatMap((name) => {
    const file = readTextOrNull(kernel, `/sys/block/${name}/loop/backing_file`);
    return file !== null && isBelow(file, paths)
      ? [{ who: `loop device /dev/${name}`, how: `is backed by ${file}`, onlyByCopy: false }]
      : [];
  });
}

/** Files below one of these paths that the kernel swaps to (proc_swaps(5)): no process has them open. */
export function swapsBelow(kernel: Kernel, paths: readonly string[]): readonly Holder[] {
  const [, ...lines] = (readTextOrNull(kernel, "/proc/swaps") ?? "").split("\n");
  return lines
    .map((line) => unescaped(line.split(/\s/)[0] ?? ""))
    .filter((file) => isBelow(file, paths))
    .map((file) => ({ who: "the kernel", how: `swaps to ${file} (swapoff)`, onlyByCopy: false }));
}

/** A sentence's worth of holders; the rest is counted. */
export function holdersText(holders: readonly Holder[]): string {
  const limit = 8;
  const named = holders.slice(0, limit).map(({ who, how }) => `${who} ${how}`);
  const more = holders.length > limit ? [`${holders.length - limit} more`] : [];
  return [...named, ...more].join("; ");
}
