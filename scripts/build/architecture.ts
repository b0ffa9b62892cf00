export type Architecture = "x64" | "arm64";

export const architectures: readonly Architecture[] = ["x64", "arm64"];

export const ownArchitecture: Architecture = process.arch === "arm64" ? "arm64" : "x64";

/** What others call them. */
export const gnuNames = { x64: "x86_64", arm64: "aarch64" } as const;
export const debianNames = { x64: "amd64", arm64: "arm64" } as const;
