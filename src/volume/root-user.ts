import type { Kernel } from "../linux/kernel.ts";
import { VolumeError } from "./error.ts";

/** Said before anything is touched, not after half of it. */
export function assertRoot(kernel: Kernel): void {
  if (kernel.geteuid() === 0) return;
  throw new VolumeError("permission", "only root can mount and unmount the data volume", {
    hint: "run it as root, for example with sudo",
  });
}
