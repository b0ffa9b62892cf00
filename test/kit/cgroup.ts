import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Sandbox } from "./sandbox.ts";

/** The processes that a cgroup still had were killed a moment ago. */
const EMPTY_LIMIT_MS = 5000;

/** A cgroup (version 2) below our own, removed with the sandbox. */
export function newCgroup(box: Sandbox): string {
  const mounted = box.path("cgroup2");
  if (!existsSync(mounted)) box.mount("cgroup2", "cgroup2", "-t", "cgroup2");
  const [, own] = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8")) ?? [];
  if (own === undefined) throw new Error("this process is in no cgroup of version 2");
  const cgroup = mkdtempSync(join(mounted, own, "arcbox-test-"));
  box.onEnd(() => removeCgroup(cgroup));
  return cgroup;
}

function removeCgroup(cgroup: string): void {
  const deadline = performance.now() + EMPTY_LIMIT_MS;
  while (readFileSync(join(cgroup, "cgroup.events"), "utf8").includes("populated 1")) {
    if (performance.now() > deadline) throw new Error(`${cgroup} still has processes`);
    Bun.sleepSync(1);
  }
  removeTree(cgroup);
}

/** The files in a cgroup are the kernel's; only its directories can be removed. */
function removeTree(cgroup: string): void {
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(cgroup, entry.name));
  }
  rmdirSync(cgroup);
}
