/**
 * What the last executable that Bun built (version 0.5.0) reached, as history beside the bars: measured against the
 * same procedure with the same static busybox.
 */
export const bunBuilt = {
  warmWallToRust: 1.76,
  warmCpuToRust: 2.02,
  mountedToLimit: 14.8,
  coldToRust: 1.86,
  coldLargeToRust: 0.16,
  growthToRust: 1.82,
  versionToEmpty: 10,
  warmPeakRssMib: 37,
  executableMb: 109,
  nodeMountedMs: 5.6,
  warmWritten: 0,
} as const;
