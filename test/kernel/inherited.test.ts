import { describe, expect, test } from "bun:test";
import { agent, agentPath, fails, succeeds, volume } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { expectMounted, ourMounts } from "../kit/volume.ts";

const sandbox = useSandbox();

const shell = (line: string): readonly string[] => [tool("sh"), "-c", `${line}; exec "$@"`, "sh"];

/** What a program may inherit from who starts it, and how it comes to be so. */
const states: readonly (readonly [what: string, prefix: readonly string[]])[] = [
  ["every signal ignored", [tool("env"), "--ignore-signal"]],
  ["every signal blocked", [tool("env"), "--block-signal"]],
  ["SIGCHLD blocked", [tool("env"), "--block-signal=CHLD"]],
  ["SIGPIPE ignored", [tool("env"), "--ignore-signal=PIPE"]],
  ["no descriptor 0, 1 and 2", shell("exec <&- >&- 2>&-")],
  ["no descriptor 0", shell("exec <&-")],
  ["no file may grow", [tool("prlimit"), "--fsize=0"]],
  ["32 descriptors", [tool("prlimit"), "--nofile=32"]],
  ["one process", [tool("prlimit"), "--nproc=1"]],
  ["no memory may be locked", [tool("prlimit"), "--memlock=0"]],
  ["a stack of 1 MiB", [tool("prlimit"), "--stack=1048576"]],
  ["10 s of processor", [tool("prlimit"), "--cpu=10"]],
  ["a umask that leaves nothing", shell("umask 777")],
  ["a umask that leaves all", shell("umask 0")],
  ["no new privileges", [tool("setpriv"), "--no-new-privs"]],
  ["no environment", [tool("env"), "--ignore-environment"]],
  [
    "an odd environment",
    [tool("env"), "LC_ALL=tr_TR.UTF-8", "TZ=none", "TMPDIR=/none", "HOME=/none", "PATH="],
  ],
  ["the last in line", [tool("nice"), "-n", "19", tool("ionice"), "-c", "3"]],
  ["the scheduler's idle class", [tool("chrt"), "--idle", "0"]],
  ["fixed addresses", [tool("setarch"), "--addr-no-randomize"]],
  ["the numbers of an old kernel", [tool("setarch"), "--uname-2.6"]],
  ["memory that may be run", [tool("setarch"), "--read-implies-exec"]],
];

describe("what is inherited changes nothing of what is done", () => {
  test.each(states)("%s", async (_what, prefix) => {
    const box = sandbox();
    const args = ["--root", box.root, "--device", box.disk(GiB).device];
    const exitStatusOf = async (command: string) =>
      (await agent(["volume", command, ...args], { prefix })).exitCode;
    expect(await exitStatusOf("up")).toBe(0);
    expectMounted(box.root);
    expect(await exitStatusOf("up")).toBe(0);
    expect(await exitStatusOf("plan")).toBe(0);
    expect(await exitStatusOf("status")).toBe(0);
    expect(await exitStatusOf("down")).toBe(0);
    expect(ourMounts(box)).toEqual([]);
  });
});

test.each([4, 5, 8, 12])(
  "with %d descriptors it does nothing by halves, and says why",
  async (n) => {
    const box = sandbox();
    const args = ["--device", box.disk(GiB).device];
    // The hard limit: the program raises the soft one by itself.
    const prefix = [tool("prlimit"), `--nofile=${n}:${n}`];
    const { hint } = await fails(
      volume(box, "up", args, { prefix }),
      "unsupported",
      "format-failed",
      "unreadable",
    );
    expect(hint).toContain("ulimit -n");
    expect(ourMounts(box)).toEqual([]);
    await succeeds(volume(box, "up", args));
    expectMounted(box.root);
  },
);

/** How the reports of the four commands cannot be delivered. */
const outputs: readonly (readonly [what: string, redirection: string])[] = [
  ["a full disk", ">/dev/full 2>&1"],
  ["a full disk for the report alone", ">/dev/full"],
  ["a file that may not grow", ">file 2>&1"],
  ["closed descriptors", ">&- 2>&-"],
  ["a descriptor that cannot be written to", ">&0 2>&0 </dev/null"],
  ["a reader that went away", "2>&1 | true"],
];

describe("output that goes nowhere changes no exit status", () => {
  const inShell = (box: { readonly dir: string }, redirection: string): readonly string[] => [
    tool("prlimit"),
    "--fsize=0",
    tool("bash"),
    "-c",
    `cd '${box.dir}'; "$@" ${redirection}; exit "\${PIPESTATUS[0]}"`,
    "bash",
  ];
  test.each(outputs)("%s", async (_what, redirection) => {
    const box = sandbox();
    const prefix = inShell(box, redirection);
    const device = ["--root", box.root, "--device", box.disk(GiB).device];
    const missing = ["--root", box.root, "--device", box.path("none"), "--wait", "0"];
    for (const format of [[], ["--json"]]) {
      const exitStatusOf = async (command: string, args: readonly string[]) =>
        (await agent(["volume", command, ...args, ...format], { prefix })).exitCode;
      expect(await exitStatusOf("up", device)).toBe(0);
      expectMounted(box.root);
      expect(await exitStatusOf("plan", device)).toBe(0);
      expect(await exitStatusOf("status", device)).toBe(0);
      expect(await exitStatusOf("status", [...device, "--check"])).toBe(0);
      expect(await exitStatusOf("down", device)).toBe(0);
      expect(ourMounts(box)).toEqual([]);
      expect(await exitStatusOf("up", missing)).toBe(3);
      expect(await exitStatusOf("up", ["--devise"])).toBe(2);
    }
  });

  test("the report that is lost is mentioned where that is possible", async () => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const prefix = [tool("sh"), "-c", 'exec "$@" >/dev/full', "sh"];
    const run = await agent(["volume", "up", "--root", box.root, "--device", device], { prefix });
    expect(run.stderr).toBe("arcbox-agent: the report is lost: write: ENOSPC\n");
  });
});

describe("a reader that does not read holds nobody up", () => {
  const everyCommand = ["up", "status", "plan", "down"] as const;
  const limitMs = 5000;

  /** dd fills the pipe until it would have to wait; the shell keeps it open for reading. */
  const fill = "mkfifo pipe; exec 9<>pipe; dd if=/dev/zero of=pipe oflag=nonblock bs=4096";
  const pipes = [
    ["that blocks", `${fill}; exec "$@" >pipe 2>&1`],
    // dd sets the flag on what the shell has open, and the agent inherits that.
    ["that does not block", `${fill}; dd iflag=nonblock count=0 <&9; exec "$@" >&9 2>&9`],
  ] as const;

  test.each(pipes)("a full pipe %s", async (_what, script) => {
    const box = sandbox();
    const args = ["--root", box.root, "--device", box.disk(GiB).device];
    for (const command of everyCommand) {
      const line = `cd "$0"; rm -f pipe; ${script}`;
      const prefix = [tool("bash"), "-c", line, box.dir];
      const run = await agent(["volume", command, ...args], { prefix });
      expect([command, run.exitCode]).toEqual([command, 0]);
      expect(run.ms).toBeLessThan(limitMs);
      if (command === "up") expectMounted(box.root);
    }
    expect(ourMounts(box)).toEqual([]);
  });

  test("a terminal that was stopped (^S)", async () => {
    const box = sandbox();
    const args = ["--root", box.root, "--device", box.disk(GiB).device];
    for (const command of everyCommand) {
      const began = performance.now();
      const line = [agentPath, "volume", command, ...args];
      const script = 'stty ixon -ixany; echo ready; read go; exec "$@"';
      const child = Bun.spawn([tool("sh"), "-c", script, "sh", ...line], {
        terminal: {
          data(terminal, bytes) {
            if (bytes.toString().includes("ready")) terminal.write("\x13go\r");
          },
        },
      });
      const exitCode = await child.exited;
      child.terminal?.close();
      expect([command, exitCode]).toEqual([command, 0]);
      expect(performance.now() - began).toBeLessThan(limitMs);
      if (command === "up") expectMounted(box.root);
    }
    expect(ourMounts(box)).toEqual([]);
  });
});

test("in a working directory that was deleted, only what is relative to it is not done", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const gone = box.path("gone");
  const line = `mkdir '${gone}' && cd '${gone}' && rmdir '${gone}' && exec "$@"`;
  const prefix = [tool("sh"), "-c", line, "sh"];
  const upAt = (root: string) =>
    agent(["volume", "up", "--root", root, "--device", device], { prefix });
  const relative = await upAt("root");
  expect(relative.exitCode).toBe(2);
  expect(relative.stderr).toContain("--root is relative to a working directory that is not there");
  expect(ourMounts(box)).toEqual([]);
  expect((await upAt(box.root)).exitCode).toBe(0);
  expectMounted(box.root);
});
