// Runs the tests and counts them. `npm test` starts it by way of scripts/run.sh, which says in
// LACKING what this machine does not have; as root, in a mount namespace of its own.
//
//   npm test                             everything
//   npm test -- test/unit mountinfo      the files whose path contains one of these words
//   npm test -- mountinfo -t escapes     from the first flag on, words are for `bun test`
//   npm run test:deep                    the same tests, those of test/fault and test/vm with every case
import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import type { Subprocess } from "bun";
import { depth } from "../test/kit/depth.ts";
import { mounts } from "../test/kit/mountinfo.ts";
import { freeLeaks } from "./test/leaks.ts";
import { type Results, readJunit } from "./test/results.ts";

/** Folders whose tests need root, Btrfs and loop devices. All others run anywhere. */
const KERNEL_FOLDERS = ["test/kernel/", "test/fault/kernel/", "test/vm/"];
/** A test that takes longer hangs: mkfs and a few mounts are over in a second. */
const TEST_TIMEOUT_MS = depth(120_000, 4 * 3600_000);
/** Matches no name: Bun then lists every test as skipped, which counts without running. */
const NO_TEST = "(?!)";

const project = resolve(import.meta.dir, "..");
const lacking = process.env.LACKING ?? "";
const isCi = process.env.CI === "true";

const words = process.argv.slice(2);
const firstFlag = words.findIndex((word) => word.startsWith("-"));
const filters = firstFlag < 0 ? words : words.slice(0, firstFlag);
const flags = firstFlag < 0 ? [] : words.slice(firstFlag);

/** Images and mount points of the tests are made in here, so what is left over is known as ours. */
const scratch = realpathSync(mkdtempSync(`${tmpdir()}/arcbox-test-`));
// Some tests run the program as nobody, who must be able to reach what it looks at.
chmodSync(scratch, 0o755);
const report = `${scratch}/junit.xml`;

const problems: string[] = [];
let running: Subprocess | undefined;
let interrupted = false;

function testFiles(): string[] {
  const all = [...new Bun.Glob("{src,test}/**/*.test.ts").scanSync({ cwd: project })].sort();
  return all.filter((file) => filters.length === 0 || filters.some((word) => file.includes(word)));
}

async function bunTest(files: readonly string[], ...extra: string[]): Promise<Results> {
  rmSync(report, { force: true });
  const isCount = extra.length > 0;
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...flags,
      ...extra,
      ...files.map((file) => `./${file}`),
    ],
    {
      cwd: project,
      env: { ...process.env, TMPDIR: scratch },
      stdin: "ignore",
      stdout: isCount ? "ignore" : "inherit",
      stderr: isCount ? "ignore" : "inherit",
    },
  );
  running = child;
  await child.exited;
  running = undefined;

  const results = readJunit(existsSync(report) ? readFileSync(report, "utf8") : "");
  // A crash, a file that does not load, an error between two tests: none is in the report.
  if (!isCount && child.exitCode !== 0 && results.failed === 0) {
    problems.push(`bun test ended with ${child.signalCode ?? `exit code ${child.exitCode}`}`);
  }
  // With flags only some tests are meant, and of a file perhaps none.
  if (flags.length === 0) {
    for (const file of files) {
      if (!results.files.has(file)) problems.push(`no test ran in ${file}`);
    }
  }
  return results;
}

function needsKernel(file: string): boolean {
  return KERNEL_FOLDERS.some((folder) => file.startsWith(folder));
}

function sayWhySkipped(marked: number, unable: number): void {
  if (unable > 0) console.log(`Skipped ${unable}, because this machine lacks ${lacking}.`);
  if (marked > 0) console.log(`Skipped ${marked}, marked so in their files.`);
  if (isCi && marked + unable > 0) console.log("With CI=true each of them counts as failed.");
}

async function main(): Promise<number> {
  const files = testFiles();
  if (files.length === 0) problems.push("no such test file");
  const anywhere = files.filter((file) => !needsKernel(file));
  const kernel = files.filter(needsKernel);
  let [passed, failed, marked, unable] = [0, 0, 0, 0];

  const count = (results: Results): void => {
    passed += results.passed;
    failed += results.failed;
    if (flags.length === 0) marked += results.skipped;
  };

  if (anywhere.length > 0) count(await bunTest(anywhere));
  if (kernel.length > 0 && lacking === "" && !interrupted) {
    const before = mounts();
    count(await bunTest(kernel));
    problems.push(...freeLeaks(scratch, before));
  } else if (kernel.length > 0 && !interrupted) {
    unable = (await bunTest(kernel, `--test-name-pattern=${NO_TEST}`)).skipped;
  }
  if (interrupted) problems.push("interrupted");

  console.log();
  sayWhySkipped(marked, unable);
  for (const problem of problems) console.log(`failed: ${problem}`);
  failed += problems.length + (isCi ? marked + unable : 0);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interrupted = true;
    running?.kill(signal);
  });
}
try {
  process.exitCode = await main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
