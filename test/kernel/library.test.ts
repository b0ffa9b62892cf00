import { expect, test } from "bun:test";
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tool } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { asJavaScript, builtLibrary, runtime, runtimes, said } from "../kit/runtimes.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";

const sandbox = useSandbox();
const project = join(import.meta.dir, "..", "..");

/** A script in the project's folder, because a package finds its own entry points only from there. */
function inProject(box: Sandbox, text: string): string {
  const script = join(project, `library-example-${process.pid}.mjs`);
  writeFileSync(script, text);
  box.onEnd(() => {
    unlinkSync(script);
  });
  return script;
}

test.each(runtimes)(
  "the example of the README runs in %s, and prints what it says",
  async (name) => {
    const box = sandbox();
    const text = readFileSync(join(project, "README.md"), "utf8");
    const [, example] = /```ts\n(.*?)```/s.exec(text) ?? [];
    if (example === undefined) throw new Error("the README has no example");
    const script = inProject(box, example.replaceAll("/srv/", `${box.dir}/`));

    const { exitCode, stdout, stderr } = await said([runtime(name), script]);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);

    const promised = [...example.matchAll(/console\.log.* \/\/ "?(\w+)/g)].map(([, word]) => word);
    expect(promised).toHaveLength(example.split("console.log").length - 1);
    expect(stdout.trim().split("\n")).toEqual(promised.map(String));
  },
);

const inherited = [
  ["as it is", []],
  ["with SIGCHLD ignored", ["--ignore-signal=CHLD"]],
  ["with the interruptions ignored", ["--ignore-signal=HUP,TERM"]],
  ["with the interruptions blocked", ["--block-signal=HUP,TERM"]],
] as const;

test.each(runtimes.flatMap((name) => inherited.map((how) => [name, ...how] as const)))(
  "the process of the caller, %s %s, is left as it was",
  async (name, _how, signals) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const source = join(import.meta.dir, "../kit/library-state.ts");
    const script = asJavaScript(source, box.path("library-state.mjs"));
    const words = [script, builtLibrary("volume"), box.root, device];
    const run = await said([tool("env"), ...signals, runtime(name), ...words]);
    expect(run.stderr).toBe("");
    const state = JSON.parse(run.stdout);
    expect(state.outcomes).toEqual([
      "device-missing",
      "changed",
      "unchanged",
      "unchanged",
      "up",
      "changed",
      "unchanged",
    ]);
    expect(state.after).toEqual(state.before);
    expect(state.openAfter).toEqual(state.openBefore);
    expect(state.interrupts).toBe(1);
  },
);

test.each(runtimes)("a change of process.env reaches the library in %s", async (name) => {
  const script = inProject(
    sandbox(),
    `import { environment } from "#native";
     const said = (name) => {
       const value = environment(name);
       return value === null ? null : [...value];
     };
     const start = [said("BYTES"), said("TEXT")];
     process.env.TEXT = "b";
     process.env.NEW = "c";
     delete process.env.BYTES;
     const wrong = [() => environment(), () => environment(1), () => environment("a\\0b")];
     const thrown = wrong.map((call) => { try { call(); } catch (error) { return error.constructor.name; } });
     console.log(JSON.stringify([...start, said("TEXT"), said("NEW"), said("BYTES"), ...thrown]));`,
  );
  // The bytes of the first are no UTF-8, which process.env cannot say.
  const line = `BYTES=$(printf 'x\\377') TEXT=a exec "$0" "$1"`;
  const run = await said([tool("sh"), "-c", line, runtime(name), script]);
  expect(run.stderr).toBe("");
  const [a, b, c, x] = Buffer.from("abcx");
  const errors = ["TypeError", "TypeError", "TypeError"];
  expect(JSON.parse(run.stdout)).toEqual([[x, 0xff], [a], [b], [c], null, ...errors]);
});
