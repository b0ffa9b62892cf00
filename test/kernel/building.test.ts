import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const scripts = join(import.meta.dir, "../../scripts");

/** An apt-get whose sources are these, and which reaches none of them. */
function withApt(sources: string, run: (path: string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), "arcbox-apt-"));
  const apt = `#!/bin/sh
[ "$1" = indextargets ] || { echo "E: it is unplugged"; echo "E: and more"; exit 100; }
cat <<'END'
${sources}
END
`;
  writeFileSync(join(folder, "apt-get"), apt);
  chmodSync(join(folder, "apt-get"), 0o755);

  writeFileSync(join(folder, "dpkg-deb"), apt);
  chmodSync(join(folder, "dpkg-deb"), 0o755);
  try {
    return run(`${folder}:${process.env.PATH ?? ""}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const archive = (path: string): string =>
  Bun.spawnSync(
    ["bash", join(scripts, "build/archive.sh"), "nowhere", "testing", "amd64", "musl-dev"],
    {
      env: { ...process.env, PATH: path },
    },
  ).stderr.toString();

test.each([
  [
    "Debian-Security http://security\nDebian Backports http://late\nDebian http://own\nDebian http://other",
  ],
  ["Debian file:/cdrom\n http://unsigned\nUbuntu http://ubuntu\nDebian http://own"],
])("Debian's own archive is chosen, and why it gives nothing is one sentence: %j", (sources) => {
  expect(withApt(sources, archive)).toBe(
    "musl-dev cannot be fetched from http://own: it is unplugged\n",
  );
});

test("a machine without an archive of Debian takes the one that all have", () => {
  expect(withApt("Ubuntu http://ubuntu", archive)).toContain("from http://deb.debian.org/debian:");
});

test.each([
  [{ QUICKJS_SRC: "/nowhere" }, [], "/nowhere is no source of QuickJS-ng: it has no quickjs.c"],
  [{ CC: "nocompiler" }, [], "nocompiler cannot be started: is it installed?"],
  [{}, ["--everything"], "the only option is --all"],
])("a build that cannot be says why in one sentence: %j %j", (environment, options, sentence) => {
  const done = Bun.spawnSync([process.execPath, join(scripts, "build.ts"), ...options], {
    env: { ...process.env, ...environment },
  });
  expect(done.stderr.toString()).toBe(`build: ${sentence}\n`);
  expect(done.exitCode).toBe(1);
});
