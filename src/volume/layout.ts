/** One subvolume of the data volume and where the daemon that uses it looks for it. */
export interface LayoutEntry {
  readonly subvolume: string;
  /** Absolute; below `--root` when that is given. */
  readonly path: string;
  /** Directories inside the subvolume whose files are overwritten in place. */
  readonly noCopyOnWrite: readonly string[];
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
 * Of 4, 8 and 16 KiB, measured (docs/performance.md): what BoltDB and SQLite commit costs 1.8 times
 * less at the disk than with mkfs's own 16 KiB. With 4 KiB it would be 2.9 times less, but then no extended
 * attribute may be larger than 3,435 bytes, and images may carry what fits an ext4: 4 KiB.
 */
export const defaultNodeBytes = 8192;

/** What a container VM needs. NOCOW: BoltDB and SQLite overwrite small pages and sync each time. */
export const defaultLayout: Layout = {
  label: "arcbox-data",
  rawPath: "/run/arcbox/data",
  options: "compress=zstd:1,discard=async",
  mkfs: { nodesize: defaultNodeBytes },
  entries: [
    {
      subvolume: "@docker",
      path: "/var/lib/docker",
      noCopyOnWrite: ["containerd", "network", "builder", "buildkit", "image", "trust"],
    },
    {
      subvolume: "@containerd",
      path: "/var/lib/containerd",
      noCopyOnWrite: ["io.containerd.metadata.v1.bolt", "io.containerd.snapshotter.v1.overlayfs"],
    },
    {
      subvolume: "@k3s",
      path: "/var/lib/rancher/k3s",
      noCopyOnWrite: ["server/db", "agent/containerd/io.containerd.metadata.v1.bolt"],
    },
    { subvolume: "@kubelet", path: "/var/lib/kubelet", noCopyOnWrite: [] },
    { subvolume: "@cni", path: "/var/lib/cni", noCopyOnWrite: [] },
  ],
};
