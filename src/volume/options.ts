import { defaultLayout, type Layout } from "./layout.ts";

export type FormatPolicy = "blank" | "any" | "never";
export type RepairPolicy = "auto" | "always" | "never";

export const formatPolicies: readonly FormatPolicy[] = ["blank", "any", "never"];
export const repairPolicies: readonly RepairPolicy[] = ["auto", "always", "never"];

/** What a caller may choose; everything has a default. */
export interface VolumeOptions {
  /**
   * Path of a block device, or "serial=ID", "uuid=UUID", "label=NAME". Without it, the kernel
   * command line and the usual names are tried.
   */
  readonly device?: string | undefined;
  /** A file to use as the disk instead. */
  readonly image?: string | undefined;
  /** Size that the image shall have, in bytes; an existing larger one stays as it is. */
  readonly sizeBytes?: number | undefined;
  /** A directory below which everything is mounted. */
  readonly root?: string | undefined;
  /** How long to wait for the device, in milliseconds. */
  readonly waitMs?: number | undefined;
  readonly layout?: Layout | undefined;
  /** Without it, `arcbox.data_format=` of the kernel command line, else "blank". */
  readonly format?: FormatPolicy | undefined;
  readonly repair?: RepairPolicy | undefined;
  /** Mount also over a directory that is not empty. */
  readonly cover?: boolean | undefined;
}

export const defaultWaitMs = 5000;
export const defaultImageBytes = 64 * 1024 ** 3;
export const layoutOf = (options: VolumeOptions): Layout => options.layout ?? defaultLayout;
