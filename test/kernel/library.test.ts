import { expect, test } from "bun:test";
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tool } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";

const sandbox = useSandbox();
const project = join(import.meta.dir, "..", "..");

test("the example of the README runs, and prints what it says", async () => {
  const box = sandbox();
  const text = readFileSync(join(project, "README.md"), "utf8");
  const [, example] = /```ts\n(.*?)```/s.exec(text) ?? [];
  if (example === undefined) throw new Error("the README has no example");
  // In the project's folder, because a package finds its own entry points only from there.
  const script = join(project, `library-example-${process.pid}.ts`);
  writeFileSync(script, example.replaceAll("/srv/", `${box.dir}/`));
  box.onEnd(() => {
    unlinkSync(script);
  });

  const run = Bun.spawn([process.execPath, script], { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  expect(err).toBe("");
  expect(await run.exited).toBe(0);

  const promised = [...example.matchAll(/console\.log.* \/\/ "?(\w+)/g)].map(([, word]) => word);
  expect(promised).toHaveLength(example.split("console.log").length - 1);
  expect(out.trim().split("\n")).toEqual(promised.map(String));
});

test.each([
  ["as it is", []],
  ["with SIGCHLD ignored", ["--ignore-signal=CHLD"]],
  ["with the interruptions ignored", ["--ignore-signal=HUP,TERM"]],
  ["with the interruptions blocked", ["--block-signal=HUP,TERM"]],
] as const)("the process of the caller, %s, is left as it was", async (_what, signals) => {
  const box = sandbox();
  const script = join(import.meta.dir, "../kit/library-state.ts");
  const { device } = box.disk(GiB);
  const line = [process.execPath, script, box.root, device];
  const run = Bun.spawn([tool("env"), ...signals, ...line], { stdout: "pipe", stderr: "inherit" });
  const said = JSON.parse(await new Response(run.stdout).text());
  expect(said.outcomes).toEqual([
    "device-missing",
    "changed",
    "unchanged",
    "unchanged",
    "up",
    "changed",
    "unchanged",
  ]);
  expect(said.after).toEqual(said.before);
  expect(said.openAfter).toEqual(said.openBefore);
  expect(said.interrupts).toBe(1);
});
