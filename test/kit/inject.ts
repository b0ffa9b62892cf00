import { existsSync, readFileSync, rmSync } from "node:fs";
import { start } from "./agent.ts";
import { type Call, ownCalls } from "./calls.ts";
import { tool } from "./command.ts";
import type { Stage } from "./stages.ts";

/**
 * The calls that are disturbed. Not `close`: strace would fail it without closing, which no kernel does.
 * `vfork` stands for starting mkfs.btrfs.
 */
const disturbed = [
  "openat",
  "openat2",
  "read",
  "pread64",
  "pwrite64",
  "fsync",
  "ftruncate",
  "lseek",
  "statx",
  "readlinkat",
  "getdents64",
  "mkdirat",
  "unlinkat",
  "ioctl",
  "flock",
  "mount",
  "umount2",
  "vfork",
] as const;

/**
 * What strace does to a call: `signal=KILL` comes before it has an effect, any other signal with it,
 * `error=EIO` in its place.
 */
export type Fault = `signal=${string}` | `error=${string}`;

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly calls: readonly Call[];
}

/** Only the program is followed, and not mkfs. */
async function straced(
  stage: Stage,
  kinds: readonly string[],
  inject: readonly string[],
  onlyPath: string | null = null,
): Promise<Outcome> {
  const log = stage.box.path("inject.log");
  rmSync(log, { force: true });
  const prefix = [
    tool("strace"),
    "--quiet=all",
    "--string-limit=0",
    "--decode-fds=path",
    `--output=${log}`,
    // With "?" strace forgives an architecture that lacks the call, as arm64 does some old ones.
    `--trace=geteuid,${kinds.map((kind) => `?${kind}`).join(",")}`,
    ...inject.map((expression) => `--inject=${expression}`),
    ...(onlyPath === null ? [] : [`--trace-path=${onlyPath}`]),
  ];
  const { exitCode, stdout, stderr } = await start(stage.argv, { prefix, path }).done;
  const text = existsSync(log) ? readFileSync(log, "utf8") : "";
  return { exitCode, stdout, stderr, calls: ownCalls(text, onlyPath !== null) };
}

/** The same folders are searched for mkfs.btrfs wherever the tests run. */
const path = "/usr/sbin:/usr/bin:/sbin:/bin";

/** The program's own calls of an undisturbed run, in their order. */
export async function callsOf(stage: Stage): Promise<readonly Call[]> {
  await stage.reset();
  const { exitCode, stdout, calls } = await straced(stage, disturbed, []);
  if (exitCode !== 0) throw new Error(`the undisturbed run failed: ${stdout}`);
  // The devices of other tests come and go, and with them the calls that look at them.
  return calls.filter(stage.isSteady);
}

/** Processes and loop devices of others make the count of calls of a kind differ a little. */
const attempts = 50;

/** Whether strace may be told to look at this path alone, and then counts nothing else. */
function isFixed({ path, onPath, occurrence }: Call, { hasOneDevice }: Stage): boolean {
  return path !== null && onPath === occurrence && (hasOneDevice || !/\/(loop|7:)\d/.test(path));
}

/** The run did not come to the call, or strace hit another. */
export class NotMet extends Error {}

/**
 * Runs the command from the start with a fault at this very call, and perhaps with `more`. Without a
 * path strace counts every call of the kind, so the log tells which one was hit; when it was
 * another, the run is made again.
 */
export async function disturb(
  stage: Stage,
  target: Call,
  fault: Fault,
  ...more: readonly string[]
): Promise<Outcome> {
  const isTarget = ({ label, occurrence }: Call): boolean =>
    label === target.label && occurrence === target.occurrence;
  const onlyPath = more.length === 0 && isFixed(target, stage) ? target.path : null;
  let nth = onlyPath === null ? target.nth : target.onPath + 1;
  let last = "";
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    await stage.reset();
    const inject = [`${target.kind}:${fault}:when=${nth}`, ...more];
    const kinds = inject.map((expression) => expression.replace(/:.*/, ""));
    const outcome = await straced(stage, kinds, inject, onlyPath);
    const place = outcome.calls.find(isTarget);
    // A signal that is held off comes later than its call in the log; that it was sent there is known.
    const isHeldOff = fault.startsWith("signal=") && place?.nth === nth;
    if (place?.injected === true || isHeldOff) return outcome;
    last = `exit status ${outcome.exitCode}, ${/"message": ".*"/.exec(outcome.stdout)?.[0] ?? "no error"}`;
    // Met too early: look further and further on, until the log shows where it is.
    nth = place?.nth ?? nth + 2 ** Math.min(attempt, 8);
  }
  throw new NotMet(
    `${target.label} (${target.occurrence}) was not met in ${attempts} runs; the last: ${last}`,
  );
}
