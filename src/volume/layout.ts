/** One subvolume of the data volume and where the daemon that uses it looks for it. */
export interface LayoutEntry {
  readonly subvolume: string;
  /** Absolute; below `--root` when that is given. */
  readonly path: string;
  /** Directories inside the subvolume with nothing but databases: all that is made in them is overwritten in place. */
  readonly noCopyOnWrite: readonly string[];
  /** Single files of that kind, beside something else; made empty before their daemon starts. */
  readonly noCopyOnWriteFiles: readonly string[];
  /**
   * Directories that must not have the flag: those inside one that has it are made beforehand, because
   * they would inherit it, and from any other it is taken off.
   */
  readonly copyOnWrite: readonly string[];
}

/** Options of mkfs.btrfs; what is left out is its own default, but for the node size. */
export interface MkfsOptions {
  /** Bytes of a metadata block; a kernel with larger pages gets blocks of their size. */
  readonly nodesize?: number | undefined;
  readonly metadata?: "dup" | "single" | undefined;
  readonly data?: "dup" | "single" | undefined;
  readonly checksum?: "crc32c" | "xxhash" | "sha256" | "blake2" | undefined;
}

export interface Layout {
  readonly label: string;
  /** Where the whole filesystem is mounted, for the agent itself. */
  readonly rawPath: string;
  /** Filesystem-wide mount options: the first mount decides, so they go with the raw mount. */
  readonly options: string;
  readonly mkfs: MkfsOptions;
  readonly entries: readonly LayoutEntry[];
}

/**
 * Chosen among 4, 8 and 16 KiB by measuring (docs/performance.md): what BoltDB and SQLite commit costs 1.8 times
 * less at the disk than with mkfs's own 16 KiB. With 4 KiB it would be 2.9 times less, but then no extended
 * attribute may be larger than 3,435 bytes, and images may carry what fits an ext4: 4 KiB.
 */
export const defaultNodeBytes = 8192;

/** The files of containerd that BoltDB overwrites in place, below its directory: "" or "…/". */
const containerdDatabases = (root: string, snapshotters: readonly string[]) => ({
  directory: `${root}io.containerd.metadata.v1.bolt`,
  files: snapshotters.map((name) => `${root}io.containerd.snapshotter.v1.${name}/metadata.db`),
});
const snapshotters = ["overlayfs", "native", "btrfs", "erofs"];
const dockerContainerd = containerdDatabases("containerd/daemon/", snapshotters);
const containerd = containerdDatabases("", snapshotters);
const k3sContainerd = containerdDatabases("agent/containerd/", ["overlayfs"]);

/**
 * What a container VM needs. NOCOW, because BoltDB and SQLite overwrite small pages and sync each time;
 * nothing else, because the flag takes checksums and compression from all that inherits it. Which files
 * the daemons sync was watched: docs/layouts.md. Version 0.5.0 and the agent in Rust also flagged
 * directories that hold layers, blobs or nothing, which are named here to take it off them.
 */
export const defaultLayout: Layout = {
  label: "arcbox-data",
  rawPath: "/run/arcbox/data",
  options: "compress=zstd:1,discard=async",
  mkfs: { nodesize: defaultNodeBytes },
  entries: [
    {
      subvolume: "@docker",
      path: "/var/lib/docker",
      noCopyOnWrite: ["buildkit", "network/files", dockerContainerd.directory],
      noCopyOnWriteFiles: ["volumes/metadata.db", ...dockerContainerd.files],
      copyOnWrite: ["buildkit/content", "buildkit/executor", "containerd", "image", "network"],
    },
    {
      subvolume: "@containerd",
      path: "/var/lib/containerd",
      noCopyOnWrite: [containerd.directory],
      noCopyOnWriteFiles: containerd.files,
      copyOnWrite: ["io.containerd.snapshotter.v1.overlayfs"],
    },
    {
      subvolume: "@k3s",
      path: "/var/lib/rancher/k3s",
      noCopyOnWrite: ["server/db", k3sContainerd.directory],
      noCopyOnWriteFiles: k3sContainerd.files,
      copyOnWrite: ["server/db/snapshots"],
    },
    {
      subvolume: "@kubelet",
      path: "/var/lib/kubelet",
      noCopyOnWrite: [],
      noCopyOnWriteFiles: [],
      copyOnWrite: [],
    },
    {
      subvolume: "@cni",
      path: "/var/lib/cni",
      noCopyOnWrite: [],
      noCopyOnWriteFiles: [],
      copyOnWrite: [],
    },
  ],
};

/** What the agent in Rust made NOCOW in each of the five subvolumes, whichever daemon uses it. */
const rustDirectories = [
  "containerd",
  "network",
  "builder",
  "buildkit",
  "image",
  "trust",
  "io.containerd.metadata.v1.bolt",
  "io.containerd.snapshotter.v1.overlayfs",
];

/** The directories in a subvolume of the built-in layout that were NOCOW once, although no daemon needs it. */
export function strayDirectories(entry: LayoutEntry): readonly string[] {
  const { subvolume, path, noCopyOnWrite, copyOnWrite } = entry;
  const isBuiltIn = defaultLayout.entries.some(
    (one) => one.subvolume === subvolume && one.path === path,
  );
  const known = [...noCopyOnWrite, ...copyOnWrite];
  return isBuiltIn ? rustDirectories.filter((name) => !known.includes(name)) : [];
}
