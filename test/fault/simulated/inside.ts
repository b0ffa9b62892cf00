import { defaultLayout } from "../../../src/volume/layout.ts";
import { emptyTree } from "../../kit/simulated/btrfs.ts";
import {
  directory,
  type Entry,
  parentOf,
  type Tree,
  withDirectories,
} from "../../kit/simulated/tree.ts";

/** What somebody did to the top of the volume where a subvolume belongs. */
export type Oddity = "directory" | "symlink" | "file" | "read-only" | "received";

/** What a Btrfs holds. */
export interface Inside {
  /** Which of the five subvolumes are there. */
  readonly subvolumes: readonly boolean[];
  readonly odd: { readonly index: number; readonly what: Oddity } | null;
  /** Of each place that the layout names, as far as its subvolume is there. */
  readonly nocow: readonly PlaceState[];
}

/** `full`: without the flag and not empty. */
export type PlaceState = "missing" | "plain" | "full" | "flagged";

export const FS_NOCOW_FL = 0x00800000;

interface NamedPlace {
  readonly path: string;
  readonly kind: "directory" | "file" | "plain";
}

/** All that the layout names, from the top of the filesystem, what is outside first. */
export const namedPlaces: readonly NamedPlace[] = defaultLayout.entries
  .flatMap(({ subvolume, noCopyOnWrite, noCopyOnWriteFiles, copyOnWrite }) => [
    ...noCopyOnWrite.map((inside) => ({
      path: `/${subvolume}/${inside}`,
      kind: "directory" as const,
    })),
    ...noCopyOnWriteFiles.map((inside) => ({
      path: `/${subvolume}/${inside}`,
      kind: "file" as const,
    })),
    ...copyOnWrite.map((inside) => ({ path: `/${subvolume}/${inside}`, kind: "plain" as const })),
  ])
  .sort((one, other) => one.path.split("/").length - other.path.split("/").length);

/** What must be flagged, and what must not be. */
export const nocowPaths = namedPlaces
  .filter(({ kind }) => kind !== "plain")
  .map(({ path }) => path);
export const plainPaths = namedPlaces
  .filter(({ kind }) => kind === "plain")
  .map(({ path }) => path);
export const subvolumeNames = defaultLayout.entries.map(({ subvolume }) => subvolume);

const precious: Entry = { kind: "file", mode: 0o600, text: "precious" };

/** The tree of a filesystem somebody has used: a file at the top, one in each subvolume. */
export function treeOf({ subvolumes, odd, nocow }: Inside): Tree {
  const tree = new Map(emptyTree()).set("/precious", precious);
  for (const [i, name] of subvolumeNames.entries()) {
    if (subvolumes[i] !== true) continue;
    tree.set(`/${name}`, directory(256, { subvolume: 256 + i }));
    tree.set(`/${name}/precious`, precious);
  }
  let made: Tree = tree;
  for (const [i, { path, kind }] of namedPlaces.entries()) {
    const state = nocow[i];
    const name = path.split("/")[1] ?? "";
    if (state === undefined || state === "missing" || !tree.has(`/${name}`)) continue;
    const flags = state === "flagged" ? FS_NOCOW_FL : 0;
    if (kind === "file") {
      made = withDirectories(made, [parentOf(path)]);
      const text = state === "plain" ? "" : "precious";
      made = new Map(made).set(path, { kind: "file", mode: 0o600, text, flags });
      continue;
    }
    made = withDirectories(made, [path]);
    const copy = new Map(made).set(path, directory(2000 + i, { mode: 0o700, flags }));
    made = state === "full" ? copy.set(`${path}/precious`, precious) : copy;
  }
  if (odd === null) return made;
  const path = `/${subvolumeNames[odd.index]}`;
  const rest = [...made].filter(([key]) => key !== path && !key.startsWith(`${path}/`));
  return new Map([...rest, [path, oddEntry(odd.what)]]);
}

function oddEntry(what: Oddity): Entry {
  if (what === "file") return precious;
  if (what === "symlink") return { kind: "symlink", target: "precious" };
  if (what === "directory") return directory(300);
  return directory(256, { subvolume: 300, readOnly: true, isReceived: what === "received" });
}
