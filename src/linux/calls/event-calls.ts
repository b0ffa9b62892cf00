import { Errno, isErrno } from "../errno.ts";
import { O_CLOEXEC } from "../kernel.ts";
import { i32, struct, u16, u32, u64 } from "../struct.ts";
import { fileCalls } from "./file-calls.ts";
import { call, nameWord, retried } from "./system-call.ts";

/** linux/netlink.h, struct sockaddr_nl; group 1 is the kernel's own broadcast. */
const sockaddrNetlink = struct(12, { family: u16(0), portId: u32(4), groups: u32(8) });
const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = O_CLOEXEC;
const SOCK_NONBLOCK = 0o4000;
const NETLINK_KOBJECT_UEVENT = 15;

/** poll.h, struct pollfd */
const pollFd = struct(8, { fd: i32(0), events: u16(4), revents: u16(6) });
const POLLIN = 1;
const POLLOUT = 4;

/** linux/time_types.h, struct __kernel_timespec */
const timespec = struct(16, { seconds: u64(0), nanoseconds: u64(8) });
/** Beyond any wait of ours, and within what the kernel takes. */
const longestWaitMs = 2 ** 40;

/** A time for ppoll(2), which waits forever where it is told none. */
function timeoutWord(timeoutMs: number): Uint8Array | 0 {
  if (timeoutMs > longestWaitMs) return 0;
  const wholeMs = Math.max(0, Math.ceil(timeoutMs));
  return timespec.encode({
    seconds: BigInt(Math.floor(wholeMs / 1000)),
    nanoseconds: BigInt((wholeMs % 1000) * 1_000_000),
  });
}

/** What tells that something happened, and how to wait for it. */
export interface EventCalls {
  /** A socket that receives the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT). */
  openUevents(): number;
  /** An inotify(7) descriptor. */
  openInotify(): number;
  watchDirectory(inotify: number, path: string, mask: number): void;
  /** poll(2) for reading: false when `timeoutMs` passed first. */
  waitReadable(fds: readonly number[], timeoutMs: number): boolean;
  /** poll(2) for writing: the same; true also where a write would fail at once. */
  waitWritable(fd: number, timeoutMs: number): boolean;
}

export const eventCalls: EventCalls = {
  openUevents() {
    const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const fd = call("socket", "uevents", AF_NETLINK, type, NETLINK_KOBJECT_UEVENT);
    const address = sockaddrNetlink.encode({ family: AF_NETLINK, groups: 1 });
    try {
      call("bind", "uevents", fd, address, address.length);
      return fd;
    } catch (error) {
      fileCalls.close(fd);
      throw error;
    }
  },
  openInotify: () => call("inotify_init1", undefined, O_CLOEXEC | SOCK_NONBLOCK),
  watchDirectory(inotify, path, mask) {
    call("inotify_add_watch", path, inotify, nameWord(path), mask);
  },

  waitReadable(fds, timeoutMs) {
    const asked = new Uint8Array(fds.length * pollFd.sizeBytes);
    fds.forEach((fd, i) => {
      pollFd.patch(asked.subarray(i * pollFd.sizeBytes), { fd, events: POLLIN });
    });
    try {
      return call("ppoll", undefined, asked, fds.length, timeoutWord(timeoutMs), 0, 0) > 0;
    } catch (error) {
      // A signal is one of the things worth waking up for; the caller looks again.
      if (isErrno(error, Errno.EINTR)) return true;
      throw error;
    }
  },
  waitWritable(fd, timeoutMs) {
    const asked = pollFd.encode({ fd, events: POLLOUT });
    return retried("ppoll", undefined, asked, 1, timeoutWord(timeoutMs), 0, 0) > 0;
  },
};
