import { syscall } from "#native";
import { eventCalls } from "./event-calls.ts";
import { fileCalls } from "./file-calls.ts";
import { numberOf } from "./numbers.ts";
import { call } from "./system-call.ts";
import { timeCalls } from "./time-calls.ts";

/** linux/mman.h */
const PROT_READ = 1;
const MAP_SHARED = 1;

/** What is mapped to see whether it is there; part of a page where pages are larger. */
const mappedBytes = 4096;

/** Most disks answer so soon that any sleep would be longer. */
const closelyMs = 0.5;

export interface PageCalls {
  /**
   * Has the page at this offset read ahead and looks whether it came: mmap(2), mincore(2). False when `waitMs` passed
   * first. Waits for no disk, as every read does, and holds none of its locks.
   */
  pageComes(fd: number, offsetBytes: number, waitMs: number): boolean;
}

export const pageCalls: PageCalls = {
  pageComes(fd, offsetBytes, waitMs) {
    const address = call("mmap", undefined, 0, mappedBytes, PROT_READ, MAP_SHARED, fd, offsetBytes);
    const isThere = new Uint8Array(1);
    try {
      fileCalls.readAhead(fd, offsetBytes, mappedBytes);
      for (const startMs = timeCalls.nowMs(); ; ) {
        call("mincore", undefined, address, mappedBytes, isThere);
        if (((isThere[0] ?? 0) & 1) === 1) return true;
        const tookMs = timeCalls.nowMs() - startMs;
        if (tookMs > waitMs) return false;
        if (tookMs > closelyMs) eventCalls.waitReadable([], 1);
      }
    } finally {
      syscall(numberOf.munmap, address, mappedBytes);
    }
  },
};
