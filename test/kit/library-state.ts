// Started by test/kernel/library.test.ts in Bun and, as JavaScript, in Node, with the library, a folder and a disk:
// prints what the four operations changed of the process that called them.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

const [library = "", root = "", device = ""] = process.argv.slice(2);
const { down, plan, status, up }: typeof import("../../src/volume/index.ts") = await import(
  library
);

let interrupts = 0;
const interrupted = new Promise<void>((resolve) => {
  process.on("SIGINT", () => {
    interrupts++;
    resolve();
  });
});
process.umask(0o077);

const fieldsOf = (file: string, names: RegExp): readonly string[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => names.test(line));

const state = (): unknown => ({
  status: fieldsOf("/proc/self/status", /^(Umask|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Groups|Uid)/),
  limits: fieldsOf("/proc/self/limits", /./),
  others: ["oom_score_adj", "timerslack_ns", "cgroup"].map((name) =>
    readFileSync(`/proc/self/${name}`, "utf8"),
  ),
  folder: readlinkSync("/proc/self/cwd"),
  environment: { ...process.env },
});

const openFiles = (): readonly string[] =>
  readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith("/") && !path.startsWith("/proc/") ? [path] : [];
    } catch {
      return [];
    }
  });

const before = state();
const openBefore = openFiles();
const wrong = { root, device: `${device}-none`, waitMs: 0 };
const options = { root, device };
const outcomes = [
  up(wrong).error?.code,
  up(options).outcome,
  up(options).outcome,
  plan(options).outcome,
  status(options).state,
  down(options).outcome,
  down(options).outcome,
];
const after = state();
process.kill(process.pid, "SIGINT");
// A lost one is no reason to wait for ever.
await Promise.race([interrupted, setTimeout(10_000)]);
console.log(
  JSON.stringify({ outcomes, before, after, interrupts, openBefore, openAfter: openFiles() }),
);
process.exit();
