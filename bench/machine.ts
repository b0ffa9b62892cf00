import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { command } from "../test/kit/command.ts";
import { GiB } from "../test/kit/image.ts";
import { busybox } from "./build.ts";
import type { Machine } from "./results.ts";

/** What the numbers depend on. The number of a kernel's build is nobody's business. */
export function describeMachine(folder: string): Machine {
  const models = cpus();
  const [version = ""] = /v[\d.]+/.exec(command("mkfs.btrfs", "--version")) ?? [];
  const [busyboxVersion = ""] = /v[\d.]+/.exec(command(busybox(), "--help")) ?? [];
  return {
    architecture: process.arch,
    kernel: release().replace(/^(\d+\.\d+\.\d+).*/, "$1"),
    cpus: `${models.length} × ${models[0]?.model ?? "unknown"}`,
    memoryGib: Math.round(totalmem() / GiB),
    mkfs: `btrfs-progs ${version}`,
    busybox: `BusyBox ${busyboxVersion}`,
    imagesOn: command("stat", "--file-system", "--format=%T", folder).trim(),
  };
}

/** Processes that wanted a processor in the last minute, per processor. */
export function load(): number {
  return Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]) / cpus().length;
}
