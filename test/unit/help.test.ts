import { describe, expect, test } from "bun:test";
import { actions, optionSpecs } from "../../src/cli/arguments.ts";
import { programHelp, volumeHelp } from "../../src/cli/help.ts";
import { run } from "../../src/cli/run.ts";
import { failing, fakeKernel } from "./support/fake-kernel.ts";

/** Runs the program with a kernel that can only print. */
async function ran(...argv: readonly string[]) {
  const written: Record<number, string> = { 1: "", 2: "" };
  const kernel = fakeKernel({
    nowMs: () => 0,
    waitWritable: () => true,
    write(fd, buffer) {
      written[fd] += new TextDecoder().decode(buffer);
      return buffer.length;
    },
    ioctl: failing("ENOTTY"),
  });
  const status = await run(kernel, argv);
  return { status, out: written[1] ?? "", err: written[2] ?? "" };
}

describe.each([...actions])("volume %s --help", (action) => {
  const help = volumeHelp(action);

  test("mentions every option of the command, and no other", () => {
    const mentioned = [...help.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, name]) => name);
    const specs = optionSpecs.filter((spec) => spec.actions.includes(action));
    expect(mentioned).toEqual(specs.map(({ name }) => name));
  });

  test("has an example, and no option without words", () => {
    expect(help).toMatch(new RegExp(`Examples:\n {2}arcbox-agent volume ${action}`));
    for (const { help: words } of optionSpecs) expect(words).toMatch(/\w{3}/);
  });

  test("explains each option within 80 columns", () => {
    const [, options = ""] = help.split(/^(?:Options|Examples):$/m);
    expect(options.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test("is printed, and nothing is done", async () => {
    for (const flag of ["--help", "-h"]) {
      expect(await ran("volume", action, "--image", "/x", flag)).toEqual({
        status: 0,
        out: help,
        err: "",
      });
    }
  });
});

test("the program's help names every command and every exit status", () => {
  for (const action of actions) expect(programHelp).toContain(`volume ${action}`);
  for (let status = 0; status <= 9; status++) {
    expect(programHelp).toMatch(new RegExp(`(^| {2,})${status} [a-z]`, "m"));
  }
});

test.each([[["--help"]], [["-h"]], [["help"]], [["volume", "--help"]], [["volume", "-h"]]])(
  "%p prints it",
  async (argv) => {
    expect(await ran(...argv)).toEqual({ status: 0, out: programHelp, err: "" });
  },
);

describe("a command that does not exist", () => {
  test.each([
    [[]],
    [["volume"]],
    [["volume", "mount"]],
    [["volume", "toString"]],
    [["volume", "--json"]],
    [["up"]],
    [[""]],
    [["volume", "up\x1b[2J"]],
  ])("%p is one clear line on standard error and exit status 2", async (argv) => {
    const { status, out, err } = await ran(...argv);
    if (argv.includes("--json")) {
      expect(JSON.parse(out)).toMatchObject({ outcome: "failed", error: { code: "usage" } });
    } else {
      expect(err).toMatch(/^arcbox-agent: usage: [^\n]*--help\)\n$/);
      expect(out).toBe("");
    }
    expect(err).not.toContain("\x1b");
    expect(status).toBe(2);
  });
});

test("a wrong flag with --json is one JSON document on standard output", async () => {
  const { status, out, err } = await ran("volume", "up", "--json", "--frobnicate");
  expect(JSON.parse(out)).toMatchObject({
    outcome: "failed",
    steps: [],
    error: {
      code: "usage",
      message: expect.stringContaining("--frobnicate"),
      hint: expect.stringContaining("--help"),
    },
  });
  expect([status, err]).toEqual([2, ""]);
});
