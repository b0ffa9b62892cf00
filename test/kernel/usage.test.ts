import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { agent, fails, succeeds, volume } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { GiB, nonZeroBlocks } from "../kit/image.ts";
import { addToCommandLine } from "../kit/kernel-command-line.ts";
import { parseReport } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { ourMounts, preparedDisk } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

/** Every word of a command line that is wrong; `IMAGE` and `DISK` stand for real ones. */
const wrong: readonly (readonly string[])[] = [
  ["--nonsense"],
  ["--nonsense=1"],
  ["-x"],
  ["--jsn"],
  ["extra"],
  ["--device"],
  ["--device", ""],
  ["--device="],
  ["--image", ""],
  ["--root", ""],
  ["--root="],
  ["--device", "DISK", "--image", "IMAGE"],
  ["--device", "DISK", "--wait"],
  ["--device", "DISK", "--wait", ""],
  ["--device", "DISK", "--wait", "soon"],
  ["--device", "DISK", "--wait", "-1"],
  ["--device", "DISK", "--wait=-1"],
  ["--device", "DISK", "--wait", "NaN"],
  ["--device", "DISK", "--wait", "1s"],
  ["--device", "DISK", "--wait", "0x10"],
  ["--device", "DISK", "--format", "all"],
  ["--device", "DISK", "--format", ""],
  ["--device", "DISK", "--format", "toString"],
  ["--device", "DISK", "--repair", "maybe"],
  ["--device", "DISK", "--repair", "Always"],
  ...[
    "0",
    "0G",
    "-1G",
    "",
    "G",
    "big",
    "1.2.3G",
    "1GG",
    "64X",
    "1e3",
    "NaN",
    "Infinity",
    "0x100",
    " ",
    "1 G B",
    "99999999999999T",
  ].map((size) => ["--image", "IMAGE", `--size=${size}`]),
  ["--image", "IMAGE", "--size"],
];

const rows = wrong.map((words) => [JSON.stringify(words.join(" ")), words] as const);

test.each(rows)("%s is one clear line, exit 2, and nothing happens", async (_, words) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const image = box.path("new.img");
  const args = words.map((word) => (word === "DISK" ? device : word === "IMAGE" ? image : word));
  const before = observe(box);
  const text = await agent(["volume", "up", "--root", box.root, ...args], { cwd: box.dir });
  expect(text.exitCode).toBe(2);
  expect(text.stdout).toBe("");
  expect(text.stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(text.stderr.trim()).not.toBe("");
  expect(text.stderr).not.toMatch(/\n\s+at |TypeError|Error:.*\bat\b/);
  for (const verb of ["up", "plan"] as const) {
    const json = await volume(box, verb, args, { cwd: box.dir });
    expect(json.report.error?.code).toBe("usage");
  }
  expect(observe(box)).toEqual(before);
});

test("the line of a wrong flag names the flag, that of a wrong value the value", async () => {
  const flag = await agent(["volume", "up", "--nonsense"]);
  expect(flag.stderr).toContain("--nonsense");
  const value = await agent(["volume", "up", "--device", "/dev/null", "--format", "sideways"]);
  expect(value.stderr).toContain("sideways");
  expect(value.stderr).toContain("--format");
});

test.each([[["volume", "upp"]], [["volumes", "up"]], [["nonsense"]], [["--nonsense"]]])(
  "%p is no command: exit 2, one line",
  async (args) => {
    const { exitCode, stderr } = await agent(args);
    expect(exitCode).toBe(2);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  },
);

test.each([["plan"], ["down"]])("%s refuses unknown flags too", async (verb) => {
  const { exitCode, stderr, stdout } = await agent(["volume", verb, "--nonsense"]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

test.each([[["--format", "any"]], [["--repair", "always"]], [["--cover"]]])(
  "down takes no %p: those are for up",
  async (flags) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const { report } = await volume(box, "down", ["--device", device, ...flags]);
    expect(report.error?.code).toBe("usage");
  },
);

test.each([
  [["--help"]],
  [["volume", "--help"]],
  [["volume", "up", "--help"]],
  [["volume", "plan", "--help"]],
  [["volume", "down", "--help"]],
])("%p explains itself on standard output and exits 0", async (args) => {
  const { exitCode, stdout, stderr } = await agent(args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(stdout).toMatch(/usage/i);
  expect(stdout).toContain("volume");
});

test("the help of up names every flag of the contract", async () => {
  const { stdout } = await agent(["volume", "up", "--help"]);
  for (const flag of [
    "--device",
    "--image",
    "--size",
    "--root",
    "--wait",
    "--format",
    "--repair",
    "--cover",
    "--json",
  ]) {
    expect(stdout).toContain(flag);
  }
});

test("--help beside other flags changes nothing", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const before = observe(box);
  const { exitCode } = await agent([
    "volume",
    "up",
    "--device",
    device,
    "--root",
    box.root,
    "--help",
  ]);
  expect(exitCode).toBe(0);
  expect(observe(box)).toEqual(before);
});

test.each([
  ["1073741824", GiB],
  ["1024M", GiB],
  ["1048576K", GiB],
  ["2G", 2 * GiB],
  ["1T", 1024 * GiB],
])("--size %s is %d bytes", async (size, bytes) => {
  const box = sandbox();
  const { report } = await volume(box, "plan", ["--image", box.path("new.img"), "--size", size]);
  expect(report.bytes).toBe(bytes);
});

test("with --json there is one document on standard output, on failure too", async () => {
  const box = sandbox();
  const missing = ["volume", "up", "--json", "--device", box.path("none"), "--wait", "0"];
  for (const args of [missing, ["volume", "up", "--json", "--nonsense"]]) {
    const { stdout, exitCode } = await agent(args);
    expect(parseReport(stdout).outcome).toBe("failed");
    expect(exitCode).not.toBe(0);
  }
});

test("without --json a failure is on standard error, with what can be done", async () => {
  const box = sandbox();
  const path = box.path("none");
  const { stderr, exitCode } = await agent(["volume", "up", "--device", path, "--wait", "0"]);
  expect(exitCode).toBe(3);
  expect(stderr).toContain(path);
  expect(stderr).not.toMatch(/\n\s+at /);
});

const asNobody = (): readonly string[] => [
  tool("setpriv"),
  "--reuid=65534",
  "--regid=65534",
  "--clear-groups",
];

test.each(["up", "plan", "down"] as const)(
  "%s without root is not permitted, and nothing changes",
  async (verb) => {
    const box = sandbox();
    const { device } = await preparedDisk(box);
    const before = observe(box);
    const { report } = await volume(box, verb, ["--device", device], { prefix: asNobody() });
    expect(report.error?.code).toBe("permission");
    expect(`${report.error?.message} ${report.error?.hint}`).toMatch(/root/);
    expect(observe(box)).toEqual(before);
  },
);

test("an image without root is not permitted, and is not made", async () => {
  const box = sandbox();
  const image = box.path("new.img");
  const { report, exitCode } = await volume(box, "up", ["--image", image, "--size", "1G"], {
    prefix: asNobody(),
  });
  expect({ code: report.error?.code, exitCode }).toEqual({ code: "permission", exitCode: 9 });
  expect(existsSync(image)).toBeFalse();
});

test("root without the right to mount is not permitted, and leaves nothing mounted", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const { report } = await volume(box, "up", ["--device", device], {
    prefix: [tool("setpriv"), "--bounding-set=-sys_admin"],
  });
  expect(report.error?.code).toBe("permission");
  expect(ourMounts(box)).toBeEmpty();
});

test("root without the right to mount is told so of a blank disk too, and of one that is up", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const prefix = [tool("setpriv"), "--bounding-set=-sys_admin"];
  const refusal = await fails(volume(box, "up", ["--device", device], { prefix }), "permission");
  expect(`${refusal.message} ${refusal.hint}`).toMatch(/loop.*CAP_SYS_ADMIN/);
  expect(nonZeroBlocks(image)).toBeEmpty();
  await succeeds(volume(box, "up", ["--device", device]));
  const mounted = ourMounts(box);
  const stays = await fails(volume(box, "down", ["--device", device], { prefix }), "permission");
  expect(stays.message).toContain(box.root);
  expect(ourMounts(box)).toEqual(mounted);
});

test("what stands on the kernel command line is not argued with as if it were a flag", async () => {
  const box = sandbox();
  addToCommandLine(box, "--nonsense volume down arcbox.unknown_key=1");
  const { device } = await preparedDisk(box);
  const { report } = await volume(box, "up", ["--device", device]);
  expect(report.error).toBeNull();
});
