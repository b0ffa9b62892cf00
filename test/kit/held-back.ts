import { existsSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { newCgroup } from "./cgroup.ts";
import { command } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

const LIMIT_MS = 5000;
const V1 = "/sys/fs/cgroup/blkio";

export type Direction = "read" | "write";

/** A disk that answers whoever is in a cgroup at a byte a second: a page takes more than an hour. */
export interface HeldBack {
  /** What a command line is put behind, so that it runs in the cgroup. */
  readonly prefix: readonly string[];
  hold(...directions: readonly Direction[]): void;
  release(): void;
  /** Ends when nobody waits for the disk any more. */
  emptied(): Promise<void>;
}

export function heldBack(box: Sandbox, device: string): HeldBack {
  const number = readFileSync(`/sys/class/block/${basename(device)}/dev`, "utf8").trim();
  const isV1 = existsSync(join(V1, "blkio.throttle.read_bps_device"));
  const cgroup = isV1 ? mkdtempSync(join(V1, "arcbox-test-")) : ioCgroup(box);
  const limit = (direction: Direction, bytes: number): void => {
    const short = direction === "read" ? "rbps" : "wbps";
    if (isV1)
      writeFileSync(join(cgroup, `blkio.throttle.${direction}_bps_device`), `${number} ${bytes}`);
    else writeFileSync(join(cgroup, "io.max"), `${number} ${short}=${bytes === 0 ? "max" : bytes}`);
  };
  const release = (): void => {
    limit("read", 0);
    limit("write", 0);
  };
  const processes = join(cgroup, "cgroup.procs");
  const isEmpty = (): boolean => readFileSync(processes, "utf8") === "";
  box.onEnd(() => {
    release();
    for (const until = performance.now() + LIMIT_MS; !isEmpty() && performance.now() < until; )
      Bun.sleepSync(1);
    if (isV1) rmdirSync(cgroup);
  });
  return {
    prefix: ["/bin/sh", "-c", `echo $$ > ${processes}; exec "$@"`, "sh"],
    hold: (...directions) => {
      for (const direction of directions) limit(direction, 1);
    },
    release,
    emptied: async () => {
      while (!isEmpty()) await Bun.sleep(1);
    },
  };
}

/** A cgroup of version 2 in which disks can be held back. */
function ioCgroup(box: Sandbox): string {
  const cgroup = newCgroup(box);
  const parent = join(cgroup, "..");
  command("sh", "-c", `echo +io > ${parent}/cgroup.subtree_control`);
  return cgroup;
}
