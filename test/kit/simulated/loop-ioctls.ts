import { Errno, SystemError } from "../../../src/linux/errno.ts";
import { struct, u32, u64 } from "../../../src/linux/struct.ts";
import { requests } from "./ioctl-names.ts";
import type { SimulatedKernel } from "./kernel.ts";
import { pathText } from "./paths.ts";
import type { Open } from "./process.ts";
import { addLoop } from "./world.ts";

/** uapi/linux/loop.h */
const loopInfo = struct(232, { device: u64(0), inode: u64(8) });
const loopConfig = struct(304, { fd: u32(0) });
/** 254:1, the device of the root filesystem, as the kernel encodes it. */
const rootDevice = BigInt((254 << 8) | 1);

const fail = (errno: number): never => {
  throw new SystemError("ioctl", errno);
};

export function simulatedLoopIoctl(
  kernel: SimulatedKernel,
  { what }: Open,
  request: number,
  buffer: Uint8Array,
): number {
  const { world } = kernel;
  if (what.kind === "control") {
    if (request !== requests.LOOP_CTL_GET_FREE) fail(Errno.ENOSYS);
    const free = [0, 1, 2, 3, 4, 5, 6, 7].find((i) => !world.loops.has(`loop${i}`));
    return free ?? fail(Errno.ENOSPC);
  }
  if (what.kind !== "block" || !what.name.startsWith("loop")) return fail(Errno.ENOTTY);
  const { name } = what;
  const loop = world.loops.get(name);
  if (request === requests.LOOP_CONFIGURE) {
    if (loop !== undefined) fail(Errno.EBUSY);
    const { place, description } = kernel.file(loopConfig.decode(buffer).fd, "ioctl");
    addLoop(world, name, pathText(place), description);
    world.effect({ kind: "attach", loop: name });
    return 0;
  }
  if (loop === undefined) return fail(Errno.ENXIO);
  switch (request) {
    case requests.LOOP_GET_STATUS64:
      loopInfo.patch(buffer, { device: rootDevice, inode: BigInt(loop.image) });
      return 0;
    case requests.LOOP_SET_CAPACITY: {
      const bytes = world.images.get(loop.image)?.storage.sizeBytes ?? 0;
      loop.storage.sizeBytes = bytes - (bytes % 512);
      world.effect({ kind: "refresh", loop: name });
      return 0;
    }
    case requests.LOOP_CLR_FD:
      // While it is mounted the kernel only promises, and detaches at the last close.
      if (world.filesystemOn(name) !== null) return 0;
      loop.storage.writeBack();
      world.loops.delete(name);
      kernel.unlockUnused(loop.description);
      world.effect({ kind: "detach", loop: name });
      return 0;
    default:
      return fail(Errno.ENOTTY);
  }
}
