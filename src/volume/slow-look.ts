import { alignedBuffer } from "../linux/aligned-buffer.ts";
import type { Deadline } from "../linux/deadline.ts";
import { SystemError } from "../linux/errno.ts";
import { mountIdOf, procPath, withFd } from "../linux/files.ts";
import {
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  isDirectory,
  isRegularFile,
  type Kernel,
  O_DIRECT,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
} from "../linux/kernel.ts";
import {
  namesOrNone,
  ownProcessId,
  processIds,
  processText,
  threadFolders,
} from "../linux/processes.ts";
import { utf8 } from "../linux/text.ts";
import type { Holder } from "./holders.ts";

/**
 * Looks that may never end: the map of a process may be locked for good, and a FUSE filesystem belongs to a daemon
 * that need not answer, both of which a user without any right can arrange. So a child of this program looks, and
 * is ended when it does not answer in time.
 */

/** With this word the program is started as the child. */
const slowLookWord = "look";

/** What is looked for: files of these mounts that are mapped, or files of a filesystem that no mount shows. */
export type Sought =
  | { readonly kind: "maps"; readonly mountIds: ReadonlySet<number> }
  | { readonly kind: "files"; readonly uuid: string };

const wordsOf = (sought: Sought): readonly string[] =>
  sought.kind === "maps" ? ["maps", [...sought.mountIds].join(",")] : ["files", sought.uuid];

const soughtOf = (kind: string, what: string): Sought =>
  kind === "maps"
    ? { kind, mountIds: new Set(what.split(",").map(Number)) }
    : { kind: "files", uuid: what };

const how: Record<Sought["kind"], string> = {
  maps: "has a file of it mapped",
  files: "has a file of it open, or works in it",
};

const end = "end";
const way = "way";
const use = "use";
const block = "block";
const blockBytes = 4096;
const sync = "sync";
const write = "write";

/** The first of these paths that cannot be used within the time; null when all can, or are not there. */
export function silentPath(
  kernel: Kernel,
  paths: readonly string[],
  waitMs: number,
): string | null {
  const answer = kernel.ask([slowLookWord, use, ...paths], waitMs);
  return answer === null ? null : (paths[answer.length] ?? null);
}

/**
 * Whether a block of an open disk can be read within the time, or not at all. The child that waits for one has the
 * disk open for as long, so that this program may close it: the last to close a disk waits for its reads. It reads
 * past the cache, for a read through that has the disk's lock and who asks for its size would wait too.
 */
export function answersInTime(
  kernel: Kernel,
  fd: number,
  offsetBytes: number,
  waitMs: number,
): boolean {
  const flags = O_RDONLY | O_NONBLOCK | O_DIRECT;
  const words = [slowLookWord, block, String(offsetBytes)];
  return kernel.askAbout(procPath(fd), flags, words, waitMs) !== "";
}

/**
 * Writes down all of the filesystem that the descriptor is on, as syncfs(2) does and with its error. False when that
 * is not done within the time, and `goesOn` does not give it once more.
 */
export function syncInTime(
  kernel: Kernel,
  fd: number,
  waitMs: number,
  goesOn: () => boolean,
): boolean {
  const flags = O_RDONLY | O_DIRECTORY;
  const answer = kernel.askAbout(procPath(fd), flags, [slowLookWord, sync], waitMs, goesOn);
  if (answer === "") return false;
  if (answer === null) kernel.syncfs(fd);
  else if (Number(answer) !== 0) throw new SystemError("syncfs", Number(answer));
  return true;
}

/** A byte longer than a name can be: the kernel says so only once it would let us write. */
const impossibleName = "x".repeat(256);

/**
 * Whether the filesystem of an open directory takes writes within the time, if only to refuse one: while it is frozen
 * whoever writes waits, and cannot be ended. Nothing is written.
 */
export function takesWrites(kernel: Kernel, fd: number, waitMs: number): boolean {
  const flags = O_RDONLY | O_DIRECTORY;
  return kernel.askAbout(procPath(fd), flags, [slowLookWord, write], waitMs) !== "";
}

/** The number of the error, 0 when there is none. The descriptor is closed then, and keeps no mount busy. */
function syncedWith(kernel: Kernel, fd: number): number {
  try {
    withFd(kernel, fd, () => kernel.syncfs(fd));
    return 0;
  } catch (error) {
    if (error instanceof SystemError) return error.errno;
    throw error;
  }
}

/** Reads a little of a file or a directory. */
function useOnce(kernel: Kernel, path: string): void {
  const status = kernel.statx(AT_FDCWD, path, 0);
  if (!isDirectory(status) && !isRegularFile(status)) return;
  withFd(kernel, kernel.open(path, O_RDONLY | O_NONBLOCK), (fd) => {
    if (isDirectory(status)) kernel.readDirectory(fd, 1);
    else kernel.pread(fd, new Uint8Array(new ArrayBuffer(1)), 0);
  });
}

/** The mount in which a path ends; null when that cannot be told in time. */
export function followSlowly(kernel: Kernel, path: string, waitMs: number): number | null {
  const answer = kernel.ask([slowLookWord, way, path], waitMs)?.trim() ?? "";
  return answer === "" ? null : Number(answer);
}

/** As /proc/self/exe was started the child is "exe"; who is told that it has a disk open is to know it. */
function nameOurselves(kernel: Kernel): void {
  ask(() =>
    withFd(kernel, kernel.open("/proc/self/comm", O_RDWR), (fd) =>
      kernel.write(fd, utf8("arcbox-agent")),
    ),
  );
}

/**
 * The child's part. It says before each process that it is asked, because that may be the last thing that it says,
 * and then whether it was found.
 */
export function tellSlowLook(
  kernel: Kernel,
  [kind = "", what = "", ...more]: readonly string[],
  tell: (line: string) => void,
): void {
  nameOurselves(kernel);
  if (kind === way) {
    const id = ask(() => withFd(kernel, kernel.open(what, O_PATH), (fd) => mountIdOf(kernel, fd)));
    tell(`${id ?? ""}\n`);
    return;
  }
  if (kind === use) {
    for (const path of [what, ...more]) {
      ask(() => useOnce(kernel, path));
      tell("\n");
    }
    return;
  }
  if (kind === block) {
    ask(() => kernel.pread(0, alignedBuffer(blockBytes), Number(what)));
    tell("\n");
    return;
  }
  if (kind === sync) {
    tell(`${syncedWith(kernel, 0)}\n`);
    return;
  }
  if (kind === write) {
    ask(() => kernel.mkdirat(0, impossibleName, 0o700));
    tell("\n");
    return;
  }
  const [after = "0"] = more;
  const isFound = seeker(kernel, soughtOf(kind, what));
  const self = ownProcessId(kernel);
  for (const pid of processIds(kernel)) {
    if (Number(pid) <= Number(after) || pid === self) continue;
    tell(`?${pid}\n`);
    if (isFound(pid)) tell(`+${pid}\n`);
  }
  tell(`${end}\n`);
}

function seeker(kernel: Kernel, sought: Sought): (pid: string) => boolean {
  if (sought.kind === "maps") {
    return (pid) => {
      const folder = `/proc/${pid}/map_files`;
      return namesOrNone(kernel, folder).some((name) => {
        const id = ask(
          () => kernel.statx(AT_FDCWD, `${folder}/${name}`, AT_STATX_DONT_SYNC).mountId,
        );
        return id !== null && sought.mountIds.has(id);
      });
    };
  }
  return (pid) =>
    threadFolders(kernel, pid).some((folder) => {
      const files = namesOrNone(kernel, `${folder}/fd`).map((name) => `fd/${name}`);
      return ["cwd", "root", ...files].some((link) =>
        isOn(kernel, `${folder}/${link}`, sought.uuid),
      );
    });
}

/** null of what has gone, or may not be looked at. */
function ask<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/** linux/magic.h */
const BTRFS_SUPER_MAGIC = 0x9123683e;

/**
 * Whether a file is on this Btrfs, which folds its UUID into the first word of its id (btrfs_statfs(), fs/btrfs/super.c;
 * what it adds is the number of the subvolume, of which only the second word has bits).
 */
function isOn(kernel: Kernel, link: string, uuid: string): boolean {
  const words = uuid
    .replaceAll("-", "")
    .match(/.{8}/g)
    ?.map((word) => Number.parseInt(word, 16));
  const [first = 0, , third = 0] = words ?? [];
  const found = ask(() => withFd(kernel, kernel.open(link, O_PATH), (fd) => kernel.fstatfs(fd)));
  return found?.magic === BTRFS_SUPER_MAGIC && found.firstIdWord === (first ^ third) >>> 0;
}

/** A process that answers does so in a moment; most of the time is for the child to start. */
const answerMs = 800;

/** Who was found, and who did not answer, within the time. */
export function lookSlowly(kernel: Kernel, sought: Sought, until: Deadline): readonly Holder[] {
  const holders: Holder[] = [];
  for (let after = "0"; !until.isOver; ) {
    const words = [slowLookWord, ...wordsOf(sought), after];
    const answer = kernel.ask(words, Math.min(answerMs, until.leftMs));
    const lines = answer?.split("\n").filter((line) => line !== "") ?? [end];
    for (const line of lines.filter((one) => one.startsWith("+"))) {
      holders.push({ who: processText(kernel, line.slice(1)), how: how[sought.kind] });
    }
    const last = lines.at(-1) ?? end;
    if (last === end) break;
    after = last.slice(1);
    if (last.startsWith("?")) {
      holders.push({ who: processText(kernel, after), how: "does not answer" });
    }
  }
  return holders;
}
