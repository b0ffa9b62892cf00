import type { DeviceErrors } from "../btrfs/device-stats.ts";
import type { Problem } from "./problems.ts";
import type { ErrorReport } from "./report.ts";
import type { CopyReport } from "./superblocks.ts";
import type { Verdict } from "./verdict.ts";

/** `partial`: some of the mounts are there; `absent`: there is no such disk. */
export type VolumeState = "up" | "partial" | "down" | "absent";

export interface ProfileReport {
  readonly type: string;
  readonly profile: string;
  readonly total: number;
  readonly used: number;
}

export interface SubvolumeReport {
  readonly name: string;
  /** null where it cannot be seen: the volume is not mounted, or it does not exist. */
  readonly id: number | null;
  readonly path: string;
  readonly mounted: boolean;
  readonly nocow: readonly { readonly directory: string; readonly set: boolean | null }[];
}

/** The answer of `status`. What could not be seen is null, and a note says why. */
export interface Status {
  readonly state: VolumeState;
  readonly device: string | null;
  readonly verdict: Verdict["kind"] | null;
  readonly uuid: string | null;
  readonly label: string | null;
  readonly bytes: {
    readonly device: number | null;
    readonly filesystem: number | null;
    readonly used: number | null;
    readonly writable: number | null;
    readonly unallocated: number | null;
  };
  readonly profiles: readonly ProfileReport[];
  /** The filesystem-wide options that the kernel applies. */
  readonly options: string | null;
  readonly readOnly: boolean | null;
  /** The kernel made it read-only after an error, whatever the mounts say. */
  readonly forcedReadOnly: boolean | null;
  readonly subvolumes: readonly SubvolumeReport[];
  readonly superblocks: readonly CopyReport[];
  readonly errors: Readonly<Record<keyof DeviceErrors, number>> | null;
  /** Up, with nothing wrong. False also where not all could be looked at, and then perhaps without a problem. */
  readonly healthy: boolean;
  readonly problems: readonly Problem[];
  readonly notes: readonly string[];
  readonly error?: ErrorReport;
}

/** The status of a volume of which nothing is known. */
export const nothing: Status = {
  state: "absent",
  device: null,
  verdict: null,
  uuid: null,
  label: null,
  bytes: { device: null, filesystem: null, used: null, writable: null, unallocated: null },
  profiles: [],
  options: null,
  readOnly: null,
  forcedReadOnly: null,
  subvolumes: [],
  superblocks: [],
  errors: null,
  healthy: false,
  problems: [],
  notes: [],
};
