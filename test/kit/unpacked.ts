import { dirname } from "node:path";
import { debianFolder, unpackedFile } from "./debian.ts";

/** The folders of the unpacked libraries, each once. */
const libraryFolders = (): string => {
  const libraries = new Bun.Glob("**/*.so.*").scanSync({ cwd: debianFolder, absolute: true });
  return [...new Set([...libraries].map(dirname))].join(":");
};

/** Runs an unpacked program of an `sbin` folder with the libraries that were unpacked beside it. */
export function unpackedCommand(name: string, ...args: readonly string[]): string {
  const done = Bun.spawnSync([unpackedFile(`**/sbin/${name}`), ...args], {
    stdin: "ignore",
    env: { ...process.env, LD_LIBRARY_PATH: libraryFolders() },
  });
  const said = `${done.stdout.toString()}${done.stderr.toString()}`;
  if (done.exitCode === 0) return said;
  throw new Error(`${name} ${args.join(" ")}: exit ${done.exitCode}: ${said}`);
}
