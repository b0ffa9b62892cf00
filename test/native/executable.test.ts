import { afterAll, beforeAll, expect, test } from "bun:test";
import { tryCommand } from "../kit/command.ts";
import { quickjsProgram } from "../kit/quickjs-program.ts";

const buildLimitMs = 300_000;

/** Programs of one module, which the word of the command line names. */
const programs = {
  nothing: "",
  status: "export const status = 7;",
  "later-status": "export const status = await Promise.resolve(8);",
  throws: "const broken = () => { throw new Error('told'); };\nbroken();",
  "throws-later": "await null;\nthrow new TypeError('told later');",
  "throws-text": "throw 'told as text';",
  "throws-what-throws": "throw { toString() { throw 1; } };",
  "throws-in-a-job": "Promise.resolve().then(() => { throw new Error('told in a job'); });",
  "nobody-waits": "Promise.reject(new Error('told to nobody'));\nexport const status = 0;",
  "somebody-waits-later":
    "const p = Promise.reject(new Error('x'));\nawait null;\nawait p.catch(() => {});\nexport const status = 6;",
  "one-of-two-waits":
    "const p = Promise.reject(new Error('caught'));\nPromise.reject(new Error('forgotten'));\nawait p.catch(() => {});",
  "never-comes": "await new Promise(() => {});",
  "no-status": "export const status = { valueOf() { throw new Error('told of status'); } };",
  "no-module": "await import('./none.js');",
  "no-module-at-once": "require('./none.js');",
  "no-name": "require();",
  "no-name-but-a-symbol": "require(Symbol('name'));",
  "broken-part": "await import('./broken.js');",
  "broken-part-at-once": "require('./broken.js');",
  "broken-part-caught":
    "const caught = []; for (let i = 0; i < 2; i++) try { require('./broken.js'); } catch (e) { caught.push(e.message); }\nexport const status = caught.join() === 'a part,a part' ? 5 : 1;",
  "one-part-twice":
    "export const status = require('./part.js').count() + require('./part.js').count() + (await import('./part.js')).count();",
  "all-memory": "const all = []; for (;;) all.push(new Uint8Array(1 << 16));",
  "all-memory-in-pieces": "let all = null; for (;;) all = { all };",
  "all-memory-at-once": "new Uint8Array(2 ** 30);",
  "all-memory-caught":
    "try { const all = []; for (;;) all.push(Array(1000)); } catch {}\nexport const status = 4;",
  deep: "const deep = (n) => 1 + deep(n + 1);\ndeep(0);",
  "deep-json": "JSON.parse('['.repeat(1e6));",
  "deep-expression": "new RegExp('('.repeat(1e5));",
  "deep-text":
    "const a = []; a[0] = a; let b = 1; for (let i = 0; i < 1e6; i++) b = [b];\nString(b);",
  "deep-caught":
    "const deep = (n) => { try { return deep(n + 1); } catch { return n; } };\nexport const status = deep(0) > 10 ? 3 : 1;",
  "deep-and-freed":
    "let b = null; for (let i = 0; i < 1e6; i++) b = { b }; b = null;\nexport const status = 2;",
} as const;
type Name = keyof typeof programs;

let program = "";
let remove = (): void => undefined;
beforeAll(async () => {
  const cases = Object.keys(programs).map((name) => `"${name}": () => import("./${name}.js"),`);
  const main = `import { argument, decode } from "#native";
const programs = { ${cases.join("\n")} };
const exports = await programs[decode(argument(0))]();
export const status = exports.status ?? 0;`;
  const named = Object.entries(programs).map(([name, source]) => [`${name}.js`, source]);
  ({ program, remove } = await quickjsProgram({
    ...Object.fromEntries(named),
    "main.js": main,
    "broken.js": "throw new Error('a part');",
    "part.js": "let n = 0; export const count = () => ++n;",
  }));
}, buildLimitMs);
afterAll(() => remove());

const run = (name: Name, ...prefix: readonly string[]) =>
  tryCommand(
    prefix[0] ?? program,
    ...prefix.slice(1),
    ...(prefix.length > 0 ? [program] : []),
    name,
  );

test.each([
  ["nothing", 0],
  ["status", 7],
  ["later-status", 8],
  ["somebody-waits-later", 6],
  ["broken-part-caught", 5],
  ["one-part-twice", 6],
  ["all-memory-caught", 4],
  ["deep-caught", 3],
  ["deep-and-freed", 2],
] as const)("%s ends with %d and says nothing", (name, exitCode) => {
  expect(run(name)).toEqual({ exitCode, stdout: "", stderr: "" });
});

const failures: readonly (readonly [Name, ...string[]])[] = [
  ["throws", "Error: told\n", "at broken (./throws.js:1"],
  ["throws-later", "TypeError: told later\n", "./throws-later.js:2"],
  ["throws-text", "told as text\n"],
  ["throws-what-throws", "an error that has no text\n"],
  ["throws-in-a-job", "Error: told in a job\n"],
  ["nobody-waits", "Error: told to nobody\n"],
  ["one-of-two-waits", "Error: forgotten\n"],
  ["never-comes", "it waits for what never comes\n"],
  ["no-status", "Error: told of status\n"],
  ["no-module", "there is no module ./none.js"],
  ["no-module-at-once", "there is no module ./none.js"],
  ["no-name", "TypeError"],
  ["no-name-but-a-symbol", "TypeError"],
  ["broken-part", "Error: a part\n"],
  ["broken-part-at-once", "Error: a part\n"],
  ["all-memory", "out of memory\n"],
  ["all-memory-in-pieces", "out of memory\n"],
  ["all-memory-at-once", "out of memory\n"],
  ["deep", "RangeError: Maximum call stack size exceeded\n"],
  ["deep-json", "RangeError"],
  ["deep-expression", "Error"],
  ["deep-text", "RangeError"],
];
test.each(failures)("%s: status 1, and standard error says why", (name, ...words) => {
  const { exitCode, stdout, stderr } = run(name);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toStartWith("arcbox-agent: internal: ");
  for (const word of words) expect(stderr).toContain(word);
});

/** Much of the stack is taken by the environment before the program starts. */
const crowd = ["env", `CROWD=${"x".repeat(100_000)}`];
test.each([
  [100, false],
  [128, true],
  [150, true],
  [192, true],
  [256, false],
  [256, true],
  [1024, true],
  [8192, true],
] as const)(
  "a stack of %d KiB, crowded: %p: recursion without end is an error and no crash",
  (KiB, isCrowded) => {
    const prefix = [...(isCrowded ? crowd : []), "prlimit", `--stack=${KiB * 1024}`];
    for (const name of ["deep", "deep-json", "deep-expression", "deep-text"] as const) {
      const { exitCode, stderr } = run(name, ...prefix);
      expect(stderr).toMatch(/^arcbox-agent: internal: (too small a stack|RangeError|\w+Error)/);
      expect(exitCode).toBe(1);
    }
  },
);

test("with too small a stack it says so", () => {
  const { exitCode, stderr } = run("nothing", "prlimit", "--stack=32768");
  expect({ exitCode, stderr }).toEqual({
    exitCode: 1,
    stderr: "arcbox-agent: internal: too small a stack to start (ulimit -s)\n",
  });
});

test("whatever memory the kernel gives, it does its work or says that it has none", () => {
  const statuses = new Set<number>();
  // Below that the kernel cannot even start it.
  for (let KiB = 8000; KiB < 16_000; KiB += 500) {
    const { exitCode, stderr } = run("all-memory-in-pieces", "prlimit", `--as=${KiB * 1024}`);
    statuses.add(exitCode);
    expect(stderr).toMatch(/^arcbox-agent: internal: (.*out of memory|too little memory)/);
  }
  expect([...statuses]).toEqual([1]);
});
