import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { struct, u16, u64 } from "../../../src/linux/struct.ts";
import type { RangeLock, World } from "./world.ts";

/** asm-generic/fcntl.h: struct flock, and the commands for open file descriptions. */
const flock = struct(32, { type: u16(0), start: u64(8), length: u64(16), pid: u64(24) });
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** fcntl(2) of an open file, as far as the program uses it: it never unlocks, and locks nothing twice. */
export function simulatedFcntl(
  world: World,
  { file, description }: Pick<RangeLock, "file" | "description">,
  command: number,
  buffer: Uint8Array,
): number {
  const { type, start, length } = flock.decode(buffer);
  const end = length === 0n ? null : start + length;
  const asked: RangeLock = { file, description, start, end, isExclusive: type === F_WRLCK };
  const other = world.rangeLocks.find((lock) => isInTheWay(lock, asked));
  if (command === F_OFD_GETLK) {
    if (other === undefined) flock.patch(buffer, { type: F_UNLCK });
    return 0;
  }
  if (command !== F_OFD_SETLK) throw new SystemError("fcntl", Errno.EINVAL);
  if (other !== undefined) throw new SystemError("fcntl", Errno.EAGAIN);
  world.rangeLocks = [...world.rangeLocks, asked];
  return 0;
}

const isInTheWay = (lock: RangeLock, asked: RangeLock): boolean =>
  lock.file === asked.file &&
  lock.description !== asked.description &&
  (lock.isExclusive || asked.isExclusive) &&
  (asked.end === null || lock.start < asked.end) &&
  (lock.end === null || asked.start < lock.end);
