import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BuildError, run } from "../build/commands.ts";
import { cache } from "../build/sources.ts";

const PACKAGES = "node_modules";

/** A clean clone in a folder of another name, with the packages that are here, and nothing that was made here. */
function clone(folder: string): void {
  run("git", "clone", "--quiet", ".", folder);
  mkdirSync(join(folder, PACKAGES));
  for (const name of readdirSync(PACKAGES)) {
    if (name === ".cache") continue;
    cpSync(join(PACKAGES, name), join(folder, PACKAGES, name), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
  const theirs = join(folder, PACKAGES, ".cache", "build");
  for (const name of readdirSync(cache).filter((entry) => entry.startsWith("debian-"))) {
    cpSync(join(cache, name), join(theirs, name), { recursive: true, verbatimSymlinks: true });
  }
}

/** Builds the last commit again elsewhere and in another environment: the same bytes, or an error. */
export function checkReproducible(release: string): void {
  if (run("git", "status", "--porcelain") !== "") {
    throw new BuildError("--check builds what is committed: commit first");
  }
  const folder = mkdtempSync(join(tmpdir(), "arcbox-second-build-"));
  const project = join(folder, "another place");
  try {
    console.error("release: building again in another folder");
    clone(project);
    const environment = ["TZ=Pacific/Kiritimati", "LC_ALL=C", "LANG=C"];
    const build = `umask 077; cd "$1"; exec "$2" scripts/release.ts`;
    run("env", ...environment, "sh", "-c", build, "sh", project, process.execPath);
    const others = readdirSync(release).filter((name) => {
      const other = join(project, release, name);
      return !existsSync(other) || !readFileSync(join(release, name)).equals(readFileSync(other));
    });
    if (others.length > 0) {
      throw new BuildError(`other bytes when built in another folder: ${others.sort().join(", ")}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
