import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { escaped, manPage } from "../../scripts/man/page.ts";
import { actions, optionSpecs } from "../../src/cli/arguments.ts";
import { exitStatusOf } from "../../src/volume/error.ts";

const path = join(import.meta.dir, "..", "..", "man", "arcbox-agent.8");

test("the man page is current (bun scripts/man.ts)", () => {
  expect(readFileSync(path, "utf8")).toBe(manPage());
});

test("it has every command, option, exit status and error code", () => {
  const page = manPage();
  for (const action of actions) expect(page).toContain(`.B volume ${action}\n`);
  for (const { name } of optionSpecs) expect(page).toContain(escaped(name));
  for (const [code, status] of Object.entries(exitStatusOf)) {
    expect(page).toContain(escaped(code));
    expect(page).toContain(`.B ${status}\n`);
  }
});

test("text cannot become a request of troff", () => {
  expect(escaped(".so /etc/passwd\n'br\n\\fB-")).toBe("\\&.so /etc/passwd\n\\&'br\n\\efB\\-");
});

/** What a formatter says about the page; each is optional on a machine. */
const judges: readonly (readonly [string, ...string[]])[] = [
  ["groff", "-man", "-ww", "-Tutf8", path],
  ["mandoc", "-man", "-T", "lint", "-W", "warning", path],
];

test.each(
  judges.filter(([name]) => Bun.which(name) !== null).map((argv) => [argv[0], argv] as const),
)("%s finds no fault", (_, argv) => {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...argv], { stdin: "ignore" });
  expect(stderr.toString()).toBe("");
  if (argv[0] === "mandoc") expect(stdout.toString()).toBe("");
  // Bold is printed over itself, so no word stands there as it is written.
  else expect(stdout.length).toBeGreaterThan(2000);
  expect(exitCode).toBe(0);
});
