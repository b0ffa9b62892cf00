import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { agent } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { useSandbox } from "../kit/sandbox.ts";

const sandbox = useSandbox();

/** Types into a real interactive bash on a terminal, and gives what the command line became. */
async function typed(keys: string): Promise<string> {
  const box = sandbox();
  const script = box.path("completion.bash");
  writeFileSync(script, (await agent(["completion", "bash"])).stdout);
  // Stands for the program: shows the words that bash made of the keys.
  const stand = box.path("bin", "arcbox-agent");
  mkdirSync(dirname(stand), { recursive: true });
  writeFileSync(stand, '#!/bin/sh\necho "words:$*:"\n', { mode: 0o755 });
  const shell = Bun.spawn([tool("script"), "-qec", "bash --norc --noprofile -i", "/dev/null"], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
    env: { ...process.env, PATH: `${dirname(stand)}:${process.env.PATH}`, TERM: "dumb" },
  });
  await shell.stdin.write(`source ${script}\n${keys}\nexit\n`);
  await shell.stdin.end();
  return (
    /words:(.*):/.exec((await new Response(shell.stdout).text()).replaceAll("\r", ""))?.[1] ?? ""
  );
}

test.each([
  ["arcbox-agent vol\t", "volume"],
  ["arcbox-agent volume st\t", "volume status"],
  ["arcbox-agent volume up --form\tan\t", "volume up --format any"],
  ["arcbox-agent volume down --im\t/etc/hostn\t", "volume down --image /etc/hostname"],
  ["arcbox-agent completion f\t", "completion fish"],
])("bash completes %j", async (keys, words) => {
  expect((await typed(keys)).trim()).toBe(words);
});

test.each(["zsh", "fish"])(
  "there is a completion for %s that names every command",
  async (shell) => {
    const { stdout, exitCode } = await agent(["completion", shell]);
    expect(exitCode).toBe(0);
    for (const word of [
      "volume",
      "layout",
      "completion",
      "up",
      "plan",
      "status",
      "down",
      "format",
    ]) {
      expect(stdout).toContain(word);
    }
  },
);
