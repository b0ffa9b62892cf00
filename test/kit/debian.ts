import { join } from "node:path";

export const debianFolder = join(import.meta.dir, "../../node_modules/.cache/debian");

/** A file of a Debian package that scripts/setup.sh unpacked, without installing it; a pattern may name it. */
export function unpackedFile(pattern: string): string {
  const [found] = new Bun.Glob(pattern).scanSync({ cwd: debianFolder, absolute: true, dot: true });
  if (found !== undefined) return found;
  throw new Error(`${debianFolder}/${pattern} is missing: bash scripts/setup.sh test`);
}
