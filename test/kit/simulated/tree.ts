/** A directory tree as a table from the path in its filesystem ("" is the top, then "/a", "/a/b"). */
export type Tree = ReadonlyMap<string, Entry>;

/** What has a name. An entry is never changed in place, so copies of a tree share them. */
export type Entry =
  | Directory
  | { readonly kind: "file"; readonly mode: number; readonly text: string; readonly flags?: number }
  | { readonly kind: "symlink"; readonly target: string }
  /** A file whose bytes are in the world's `images`, by their number. */
  | { readonly kind: "image"; readonly image: number }
  | { readonly kind: "block"; readonly device: string }
  | { readonly kind: "control" };

export interface Directory {
  readonly kind: "directory";
  readonly mode: number;
  readonly inode: number;
  /** FS_*_FL */
  readonly flags: number;
  /** The top of a subvolume of this id. */
  readonly subvolume?: number;
  readonly readOnly?: boolean;
  /** `btrfs receive` made it. */
  readonly isReceived?: boolean;
}

export const directory = (inode: number, more: Partial<Directory> = {}): Directory => ({
  kind: "directory",
  mode: 0o755,
  inode,
  flags: 0,
  ...more,
});

export const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** The names in a directory. */
export function namesIn(tree: Tree, path: string): string[] {
  const names: string[] = [];
  for (const key of tree.keys()) if (key !== "" && parentOf(key) === path) names.push(nameOf(key));
  return names;
}

/** The directories above `path` that are missing, outermost first, and itself. */
function missingAbove(tree: Tree, path: string): string[] {
  if (tree.has(path)) return [];
  return path === "" ? [""] : [...missingAbove(tree, parentOf(path)), path];
}

/** The same tree with one name more, or changed. */
export const withEntry = (tree: Tree, path: string, entry: Entry): Tree =>
  new Map(tree).set(path, entry);

export function withoutEntry(tree: Tree, path: string): Tree {
  const copy = new Map(tree);
  copy.delete(path);
  return copy;
}

/** A tree from a list of paths to directories; inodes are counted upwards. */
export function withDirectories(tree: Tree, paths: readonly string[]): Tree {
  const copy = new Map(tree);
  for (const path of paths) {
    for (const missing of missingAbove(copy, path)) copy.set(missing, directory(1000 + copy.size));
  }
  return copy;
}
