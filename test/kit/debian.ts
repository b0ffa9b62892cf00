import { join } from "node:path";

/** Where scripts/setup.sh unpacks Debian packages, without installing them. */
export const debianFolder = join(import.meta.dir, "../../node_modules/.cache/debian");
/** Where it unpacks those for arm64. */
export const debianArm64Folder = `${debianFolder}-arm64`;

/** A file of an unpacked package; a pattern may name it. */
export function unpackedFile(pattern: string, folder = debianFolder): string {
  const [found] = new Bun.Glob(pattern).scanSync({ cwd: folder, absolute: true, dot: true });
  if (found !== undefined) return found;
  throw new Error(`${folder}/${pattern} is missing: bash scripts/setup.sh test`);
}
