import { VolumeError } from "./error.ts";
import { defaultLayout, type Layout } from "./layout.ts";

export type FormatPolicy = "blank" | "any" | "never";
export type RepairPolicy = "auto" | "always" | "never";

export const formatPolicies: readonly FormatPolicy[] = ["blank", "any", "never"];
export const repairPolicies: readonly RepairPolicy[] = ["auto", "always", "never"];

/** What a caller may choose; everything has a default. */
export interface VolumeOptions {
  /**
   * Path of a block device, or "serial=ID", "uuid=UUID", "label=NAME" (or in capitals, as in fstab).
   * Without it, the kernel command line and the usual names are tried.
   */
  readonly device?: string | undefined;
  /** A file to use as the disk instead, by its absolute path. */
  readonly image?: string | undefined;
  /** Size that the image shall have, in bytes; an existing larger one stays as it is. */
  readonly sizeBytes?: number | undefined;
  /** A directory below which everything is mounted, by its absolute path. */
  readonly root?: string | undefined;
  /** How long to wait for the device, in milliseconds. */
  readonly waitMs?: number | undefined;
  readonly layout?: Layout | undefined;
  /** Without it, `arcbox.data_format=` of the kernel command line, else "blank". */
  readonly format?: FormatPolicy | undefined;
  /** Without it, `arcbox.data_repair=` of the kernel command line, else "auto". */
  readonly repair?: RepairPolicy | undefined;
  /** Mount also over a directory that is not empty. */
  readonly cover?: boolean | undefined;
  /** `down`: let go of an image that was deleted, of which the loop device has the only copy. */
  readonly discardDeleted?: boolean | undefined;
}

export const defaultWaitMs = 5000;
export const defaultImageBytes = 64 * 1024 ** 3;
export const layoutOf = (options: VolumeOptions): Layout => options.layout ?? defaultLayout;

/** For an operation that takes the disk as it is: it waits for none, and what another size would do, `plan` tells. */
export const asItIs = (options: VolumeOptions): VolumeOptions => ({
  ...options,
  waitMs: 0,
  sizeBytes: undefined,
});

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
const isPath = (value: string): boolean => value.startsWith("/") && !value.includes("\0");

/**
 * The command line has checked what it was given; a caller of the library may come with a size that is
 * NaN, and on a disk of no size nothing but a blank could be read.
 */
export function assertOptions(options: VolumeOptions): void {
  const { device, image, sizeBytes, root, waitMs, format, repair } = options;
  const refuse = (why: string): never => {
    throw new VolumeError("usage", why);
  };
  if (device === "") refuse("the device is empty");
  if (device !== undefined && image !== undefined) refuse("device and image exclude each other");
  if (image !== undefined && !isPath(image)) refuse(`the image ${image} is no absolute path`);
  if (root !== undefined && !isPath(root)) refuse(`the root ${root} is no absolute path`);
  if (sizeBytes !== undefined && image === undefined) refuse("a size goes with an image");
  if (sizeBytes !== undefined && !isCount(sizeBytes)) refuse(`${sizeBytes} is no size in bytes`);
  if (waitMs !== undefined && !(waitMs >= 0)) refuse(`${waitMs} is no time to wait`);
  if (format !== undefined && !formatPolicies.includes(format)) refuse(`${format}: no such format`);
  if (repair !== undefined && !repairPolicies.includes(repair)) refuse(`${repair}: no such repair`);
}
