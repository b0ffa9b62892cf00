import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { tryCommand } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { sanitizedProgram } from "../kit/sanitized.ts";
import { expectMounted, ourMounts } from "../kit/volume.ts";

const sandbox = useSandbox();

/** The first time the whole engine is compiled. */
const buildLimitMs = 600_000;

test(
  "all four commands, and errors of each kind, run under the sanitizers without a word of theirs",
  async () => {
    const program = await sanitizedProgram();
    const box = sandbox();
    const { device } = box.disk(GiB);
    /** The program leaves what it has to the kernel when it ends. */
    const prefix = ["ASAN_OPTIONS=detect_leaks=0:exitcode=99", program];
    const run = (...words: readonly string[]) => tryCommand("env", ...prefix, ...words);
    const volume = (action: string, ...words: readonly string[]) =>
      run("volume", action, "--root", box.root, "--device", device, ...words);

    for (const action of ["plan", "up", "up", "status"]) {
      expect(volume(action)).toMatchObject({ exitCode: 0, stderr: "" });
    }
    expectMounted(box.root);
    expect(volume("down")).toMatchObject({ exitCode: 0, stderr: "" });
    expect(ourMounts(box)).toEqual([]);

    writeFileSync(box.path("layout"), "[".repeat(400_000));
    for (const words of [
      ["--size", "1"],
      ["--layout", box.path("layout")],
      ["--wait", "x"],
    ]) {
      const { exitCode, stderr } = volume("plan", ...words);
      expect({ exitCode, stderr }).toEqual({
        exitCode: 2,
        stderr: expect.stringMatching(/^arcbox-agent: (usage|layout): .*\n( {2}hint: .*\n)?$/),
      });
    }
  },
  buildLimitMs,
);
