import { describe, expect, test } from "bun:test";
import { lock } from "../../src/volume/lock.ts";
import { fakeKernel, fileStatus, readableFiles } from "./support/fake-kernel.ts";
import { expectRefused } from "./support/refused.ts";

const locks = `1: POSIX  ADVISORY  WRITE 11 00:06:4711 0 EOF
2: FLOCK  ADVISORY  WRITE 12 00:07:4711 0 EOF
3: FLOCK  ADVISORY  WRITE 13 00:06:47111 0 EOF
4: FLOCK  ADVISORY  WRITE 14 00:06:4711 0 EOF
4: -> FLOCK  ADVISORY  WRITE 15 00:06:4711 0 EOF
`;

/** A lock that becomes free after so many tries, and a clock that goes on while it is waited for. */
function contended(
  freeAfterTries: number,
  files: Record<string, string> = { "/proc/locks": locks },
) {
  let tries = 0;
  let nowMs = 0;
  const said: string[] = [];
  const kernel = fakeKernel({
    ...readableFiles(files),
    tryLock: () => ++tries > freeAfterTries,
    nowMs: () => nowMs,
    waitReadable: (_fds, ms) => {
      nowMs += ms;
      return false;
    },
    statx: () => fileStatus({ inode: 4711n, device: "0:6" }),
  });
  const take = () => lock(kernel, 3, "/dev/vdb", (text) => void said.push(text));
  return { take, said, waitedMs: () => nowMs };
}

describe("the lock", () => {
  test("that is free is taken without a word", () => {
    const { take, said, waitedMs } = contended(0);
    take();
    expect([said, waitedMs()]).toEqual([[], 0]);
  });

  test("that another run holds is waited for, and who holds it is said once", () => {
    const files = { "/proc/locks": locks, "/proc/14/comm": "arcbox-agent\n" };
    const { take, said, waitedMs } = contended(100, files);
    take();
    expect(said).toEqual([expect.stringContaining("process 14 (arcbox-agent)")]);
    expect(waitedMs()).toBeGreaterThan(0);
    expect(waitedMs()).toBeLessThan(30_000);
  });

  test("that is not free after 30 s is busy, with the name of who holds it", () => {
    const files = { "/proc/locks": locks, "/proc/14/comm": "arcbox-agent\n" };
    const { take, waitedMs } = contended(Number.POSITIVE_INFINITY, files);
    expectRefused(take, "busy", "/dev/vdb", "process 14 (arcbox-agent)", "30 s");
    expect(waitedMs()).toBeGreaterThanOrEqual(30_000);
    expect(waitedMs()).toBeLessThan(31_000);
  });

  test("whose holder is gone by now is still told of", () => {
    const ended = contended(1);
    ended.take();
    expect(ended.said).toEqual([expect.stringContaining("process 14 (it has ended)")]);
    const unknown = contended(1, { "/proc/locks": "" });
    unknown.take();
    expect(unknown.said).toEqual([expect.stringContaining("another process")]);
  });
});
