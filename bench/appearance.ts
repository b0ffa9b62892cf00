/** How soon a program that waits for a disk acts once it is there, and how often it wakes before. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { addEmptyLoop, removeLoop } from "../test/kit/libc.ts";
import { detachLoop } from "../test/kit/loops.ts";
import { interleaved } from "./boot.ts";
import { built, ours } from "./build.ts";
import { Disk } from "./disk.ts";
import type { AppearanceResult, WaitingResult } from "./results.ts";
import { median, numbersOf, sample } from "./sample.ts";
import { smallBytes } from "./scenarios.ts";

const waitSeconds = 20;
/** The disk appears so long after the start, and up to 100 ms later: at any moment of a poll. */
const leastDelayMs = 200;
const pollMs = 100;
const delayStepMs = 37;

const waiters = [
  {
    program: "ours",
    title: "arcbox-agent",
    up: (device: string, root: string) =>
      [
        ours,
        "volume",
        "up",
        "--device",
        device,
        "--root",
        root,
        "--wait",
        `${waitSeconds}`,
      ] as const,
  },
  {
    program: "rust",
    title: "Rust agent's steps",
    up: (device: string, root: string) =>
      [built("rust-procedure"), device, root, `${waitSeconds}`] as const,
  },
];

interface Delays {
  readonly openedMs: number;
  readonly mountedMs: number;
  readonly exitedMs: number;
}

function delaysOf(words: readonly string[]): Delays {
  const [opened = -1, mounted = -1, exited = -1, status] = numbersOf([built("appear"), ...words]);
  if (status !== 0 || mounted < 0) throw new Error(`${words.join(" ")}: exit ${status}`);
  return { openedMs: opened / 1e6, mountedMs: mounted / 1e6, exitedMs: exited / 1e6 };
}

const resultOf = (
  appears: "node" | "medium",
  { program, title }: { readonly program: string; readonly title: string },
  runs: readonly Delays[],
): AppearanceResult => ({
  appears,
  program,
  title,
  openedMs: median(runs.map((run) => run.openedMs)),
  mountedMs: median(runs.map((run) => run.mountedMs)),
  mostMountedMs: Math.max(...runs.map((run) => run.mountedMs)),
  exitedMs: median(runs.map((run) => run.exitedMs)),
});

/** A delay in each run that falls elsewhere between two polls. */
function delays(): () => string {
  let run = 0;
  return () => `${leastDelayMs + ((run++ * delayStepMs) % pollMs)}`;
}

async function nodes(rounds: number, disk: Disk, folder: string): Promise<AppearanceResult[]> {
  const node = join(folder, "dev/disk");
  mkdirSync(join(folder, "dev"));
  const runs = await interleaved(
    "a node that appears",
    rounds,
    waiters.map(({ up }) => {
      const delay = delays();
      return () => {
        disk.unmount();
        rmSync(node, { force: true });
        return delaysOf(["node", node, disk.device, delay(), ...up(node, disk.root)]);
      };
    }),
  );
  disk.unmount();
  return waiters.map((waiter, i) => resultOf("node", waiter, runs[i] ?? []));
}

/** The Rust procedure does not wait for a medium: it would format, so only ours is measured. */
async function media(rounds: number, disk: Disk): Promise<AppearanceResult[]> {
  const waiter = waiters.slice(0, 1);
  const loop = addEmptyLoop();
  try {
    const runs = await interleaved(
      "a medium that appears",
      rounds,
      waiter.map(({ up }) => {
        const delay = delays();
        return () => {
          const measured = delaysOf(["medium", loop, disk.image, delay(), ...up(loop, disk.root)]);
          disk.unmount();
          detachLoop(loop);
          return measured;
        };
      }),
    );
    return waiter.map((one, i) => resultOf("medium", one, runs[i] ?? []));
  } finally {
    disk.unmount();
    if (existsSync(`/sys/block/${loop.slice("/dev/".length)}/loop`)) detachLoop(loop);
    removeLoop(loop);
  }
}

export async function measureAppearance(
  rounds: number,
  folder: string,
): Promise<AppearanceResult[]> {
  const scratch = join(folder, "appearance");
  const disk = new Disk(scratch, smallBytes);
  try {
    sample([ours, "volume", "up", "--device", disk.device, "--root", disk.root]);
    disk.unmount();
    const byNode = await nodes(rounds, disk, scratch);
    // Two devices of one image are two disks with one filesystem: the first must be gone.
    disk.close();
    return [...byNode, ...(await media(rounds, disk))];
  } finally {
    disk.close();
    rmSync(scratch, { recursive: true });
  }
}

/** How often all threads of a process have gone to sleep or been put aside. */
function switches(pid: number): number {
  let count = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, "utf8");
    for (const [, number] of status.matchAll(/voluntary_ctxt_switches:\t(\d+)/g)) {
      count += Number(number);
    }
  }
  return count;
}

/** How many events of devices the kernel has announced. Each may wake who waits for one. */
const announced = (): string => readFileSync("/sys/kernel/uevent_seqnum", "utf8");

const settleMs = 1000;
const windowMs = 100;
const windows = 150;
const enoughWindows = 20;

/**
 * Wake-ups per second while nothing is to be woken for: while no device of the machine changes.
 * Null where that was never so for long enough.
 */
async function wakeUpsPerSecond(words: readonly string[]): Promise<number | null> {
  const child = Bun.spawn([...words], { stdio: ["ignore", "ignore", "ignore"] });
  let [wakeUps, quietWindows, wasQuiet] = [0, 0, false];
  await Bun.sleep(settleMs);
  for (let i = 0; i < windows && quietWindows < enoughWindows; i++) {
    const [event, before] = [announced(), switches(child.pid)];
    await Bun.sleep(windowMs);
    const after = switches(child.pid);
    const isQuiet = announced() === event;
    // What woke it just before may keep it busy for a moment.
    if (isQuiet && wasQuiet) {
      wakeUps += after - before;
      quietWindows++;
    }
    wasQuiet = isQuiet;
  }
  child.kill();
  await child.exited;
  return quietWindows < enoughWindows ? null : wakeUps / ((quietWindows * windowMs) / 1000);
}

export async function measureWaiting(folder: string): Promise<WaitingResult[]> {
  const results: WaitingResult[] = [];
  for (const { program, title, up } of waiters) {
    const words = up(join(folder, "no-such-disk"), join(folder, "waiting"));
    results.push({ program, title, wakeUpsPerSecond: await wakeUpsPerSecond(words) });
  }
  return results;
}
