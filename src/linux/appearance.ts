import { Errno, isErrno, SystemError } from "./errno.ts";
import type { Kernel } from "./kernel.ts";

/** linux/inotify.h: a name came into the directory, or the directory itself went. */
const IN_ATTRIB = 0x4;
const IN_MOVED_TO = 0x80;
const IN_CREATE = 0x100;
const IN_DELETE_SELF = 0x400;
const IN_MOVE_SELF = 0x800;
const appearance = IN_ATTRIB | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF;

/** The nearest directory above `path` that exists; what is missing will appear in it. */
function watchNearestParent(kernel: Kernel, inotify: number, path: string): void {
  let parent = path;
  do {
    parent = parent.slice(0, Math.max(parent.lastIndexOf("/"), 0));
    try {
      kernel.watchDirectory(inotify, parent === "" ? "/" : parent, appearance);
      return;
    } catch (error) {
      if (!isErrno(error, Errno.ENOENT, Errno.ENOTDIR, Errno.EACCES)) throw error;
    }
  } while (parent !== "");
}

/** Links to follow before a loop of them is assumed (path_resolution(7)). */
const linkLimit = 40;

/** Watches where a path is missing, and where each link on it leads. */
function watchWay(kernel: Kernel, inotify: number, path: string): void {
  let at = path;
  for (let links = 0; links < linkLimit; links++) {
    watchNearestParent(kernel, inotify, at);
    let target: string;
    try {
      target = kernel.readlink(at);
    } catch (error) {
      if (error instanceof SystemError) return;
      throw error;
    }
    at = target.startsWith("/") ? target : `${at.slice(0, at.lastIndexOf("/"))}/${target}`;
  }
}

/** Empties a non-blocking descriptor. */
function drain(kernel: Kernel, fd: number): void {
  const buffer = new Uint8Array(new ArrayBuffer(16 * 1024));
  try {
    while (kernel.read(fd, buffer) > 0);
  } catch (error) {
    // 105 is ENOBUFS: events were lost because many came. We look at the state, not at the events.
    if (!isErrno(error, Errno.EAGAIN, 105)) throw error;
  }
}

/** How often to look where nothing announces a change. */
const pollMs = 20;

/** Gives null when the kernel has none left (inotify(7), max_user_instances), or does not allow it. */
function openedOrNull(open: () => number, onRefusal: (error: SystemError) => void): number | null {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    onRefusal(error);
    return null;
  }
}

/**
 * Waits until `look` gives something but null, or `waitMs` has passed (then null). It looks
 * again when the kernel announces a change of any device (node, medium, size) and
 * when a name appears on the way to one of the absolute `paths`; in between it sleeps. Where
 * the kernel announces nothing it looks again and again, and tells `note` of it.
 */
export function waitForAppearance<T>(
  kernel: Kernel,
  paths: readonly string[],
  waitMs: number,
  look: () => T | null,
  note: (text: string) => void,
): T | null {
  const deadlineMs = kernel.nowMs() + waitMs;
  let isPolling = false;
  const poll = ({ message }: SystemError): void => {
    if (!isPolling)
      note(`waited by looking every ${pollMs} ms: the kernel announces nothing, ${message}`);
    isPolling = true;
  };
  const uevents = openedOrNull(() => kernel.openUevents(), poll);
  const inotify = openedOrNull(() => kernel.openInotify(), poll);
  const fds = [uevents, inotify].filter((fd) => fd !== null);
  try {
    for (;;) {
      // Watch first, then look: what appears between the two is not missed.
      try {
        if (inotify !== null) for (const path of paths) watchWay(kernel, inotify, path);
      } catch (error) {
        // No watch is left (max_user_watches), or not the right to one.
        if (!(error instanceof SystemError)) throw error;
        poll(error);
      }
      const found = look();
      if (found !== null) return found;
      const leftMs = deadlineMs - kernel.nowMs();
      if (leftMs <= 0) return null;
      kernel.waitReadable(fds, isPolling ? Math.min(leftMs, pollMs) : leftMs);
      for (const fd of fds) drain(kernel, fd);
    }
  } finally {
    for (const fd of fds) kernel.close(fd);
  }
}
