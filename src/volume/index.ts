/**
 * `arcbox-agent/volume`: the data volume as a library for Node and Bun. Every operation is synchronous and
 * answers with a report; it never throws for what it finds on a disk.
 */
import { linuxKernel } from "../linux/linux-kernel.ts";
import * as downs from "./down.ts";
import type { VolumeOptions } from "./options.ts";
import * as plans from "./plan.ts";
import type { Report } from "./report.ts";
import * as statuses from "./status.ts";
import type { Status } from "./status-report.ts";
import * as ups from "./up.ts";

export { type ErrorCode, exitStatusOf } from "./error.ts";
export { defaultLayout, type Layout, type LayoutEntry } from "./layout.ts";
export type { VolumeOptions } from "./options.ts";
export type { ErrorReport, Report, StepReport } from "./report.ts";
export type { Status } from "./status-report.ts";

const silent = (): void => undefined;

/** Finds, formats if blank, grows and mounts the volume. Needs root. */
export const up = (options: VolumeOptions = {}): Report => ups.up(linuxKernel(), options, silent);

/** Says what `up` would do. */
export const plan = (options: VolumeOptions = {}): Report =>
  plans.plan(linuxKernel(), options, silent);

/** Unmounts the volume and proves that it is gone. Needs root. */
export const down = (options: VolumeOptions = {}): Report =>
  downs.down(linuxKernel(), options, silent);

/** Looks at the volume, up or down. */
export const status = (options: VolumeOptions = {}): Status =>
  statuses.status(linuxKernel(), options, silent);
