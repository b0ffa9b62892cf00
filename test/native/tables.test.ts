import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quickjsProgram } from "../kit/quickjs-program.ts";

/**
 * What decides about a disk runs on another engine than these tests do: the tests of it run on that too. By file,
 * how many; Bun's own count is held against it.
 */
const files = [
  "blank",
  "capacity",
  "digests",
  "filesystem",
  "foreign",
  "glance",
  "intent",
  "ioctl-numbers",
  "repair",
  "signatures",
  "small-decisions",
  "struct",
  "subvolume-list",
  "superblock",
  "text",
  "verdict",
];

const project = join(import.meta.dir, "..", "..");
const buildLimitMs = 300_000;
const scratch = mkdtempSync(join(tmpdir(), "arcbox-tables-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The test files and what they import as one module, with the shim in the place of "bun:test". */
async function bundled(): Promise<string> {
  const shim = join(project, "test/kit/bun-test-shim.ts");
  const start = join(scratch, "start.ts");
  const imports = files.map((name) => `import "${join(project, `test/unit/${name}.test.ts`)}";`);
  writeFileSync(
    start,
    `import "${join(project, "test/kit/web-globals.ts")}";
${imports.join("\n")}
import { runCases } from "${shim}";
import { print } from "${join(project, "src/cli/terminal.ts")}";
import { linuxKernel } from "${join(project, "src/linux/linux-kernel.ts")}";
import { commandLine } from "${join(project, "src/linux/inherited.ts")}";
const [first, step] = commandLine().map(Number);
print(linuxKernel(null), 1, JSON.stringify(await runCases(first, step)));
`,
  );
  const { outputs, logs, success } = await Bun.build({
    entrypoints: [start],
    target: "browser",
    format: "esm",
    external: ["#native"],
    plugins: [
      {
        name: "the shim",
        setup(build) {
          build.onResolve({ filter: /^bun:test$/ }, () => ({ path: shim }));
        },
      },
    ],
  });
  const [output] = outputs;
  if (!success || output === undefined) throw new Error(logs.map(String).join("\n"));
  return output.text();
}

/** How many tests Bun finds in the files. */
function countInBun(): number {
  const paths = files.map((name) => `./test/unit/${name}.test.ts`);
  const words = ["test", "--test-name-pattern=(?!)", ...paths];
  const { stderr } = Bun.spawnSync([process.execPath, ...words], { cwd: project });
  return Number(/\(skipping (\d+) tests\)/.exec(stderr.toString())?.[1]);
}

let program = "";
let remove = (): void => undefined;
beforeAll(async () => {
  ({ program, remove } = await quickjsProgram({ "main.js": await bundled() }));
}, buildLimitMs);
afterAll(() => remove());

/** Runs every second test, beside the others. */
async function runPart(first: 0 | 1): Promise<number> {
  const child = Bun.spawn([program, `${first}`, "2"], { stdin: "ignore", stderr: "pipe" });
  const [out, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect({ errors, status: await child.exited }).toEqual({ errors: "", status: 0 });
  const { passed, failures } = JSON.parse(out);
  expect(failures).toEqual([]);
  return passed;
}

test(
  "the decisions, the superblock and the checksums hold inside QuickJS, each of their tests",
  async () => {
    const [some, others] = await Promise.all([runPart(0), runPart(1)]);
    expect(some + others).toBe(countInBun());
    expect(some + others).toBeGreaterThan(800);
  },
  buildLimitMs,
);
