import { iowr } from "../linux/ioctl.ts";
import type { Kernel } from "../linux/kernel.ts";
import { struct, u64 } from "../linux/struct.ts";
import { named } from "./ioctls.ts";

/** uapi/linux/fs.h: struct fstrim_range */
const range = struct(24, { start: u64(0), length: u64(8), leastLength: u64(16) });
const FITRIM = iowr(0x58, 121, range.sizeBytes);
const everything = 0xffff_ffff_ffff_ffffn;

/** Tells the disk which space is free; gives the bytes discarded. Needs root. Blocks until done. */
export function trim(kernel: Kernel, mounted: number): bigint {
  const argument = range.encode({ length: everything });
  named("FITRIM", undefined, () => kernel.ioctl(mounted, FITRIM, argument));
  return range.decode(argument).length;
}
