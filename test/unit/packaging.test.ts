import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { completionHelp } from "../../src/cli/help.ts";

const file = (...path: string[]): string =>
  readFileSync(join(import.meta.dir, "..", "..", ...path), "utf8");

test("the unit that is shipped is the one the README shows", () => {
  const [, shown] = /```ini\n# [^\n]*\n(.*?)```/s.exec(file("README.md")) ?? [];
  expect(file("packaging", "arcbox-data.service")).toBe(shown ?? "");
});

test("every service that waits for the volume also requires it, and the other way round", () => {
  const unit = file("packaging", "arcbox-data.service");
  const [, before] = /^Before=(.*)$/m.exec(unit) ?? [];
  const [, requiredBy] = /^RequiredBy=(.*)$/m.exec(unit) ?? [];
  expect(before).toContain("docker.service");
  expect(requiredBy).toBe(before);
});

test("every file of the project that the README links to is there", () => {
  const links = [...file("README.md").matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(
    ([, path]) => path,
  );
  expect(links.length).toBeGreaterThan(3);
  for (const path of links) expect(file(path ?? "")).not.toBe("");
});

test("the completion that the packaging notes install goes where the program's help says", () => {
  const lines = file("packaging", "README.md").match(/^arcbox-agent completion .*$/gm) ?? [];
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) expect(completionHelp).toContain(`  ${line}\n`);
});
