import { SystemError } from "../linux/errno.ts";
import { noAtime, statFd, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";

/**
 * Writes down what the mounted filesystem still has in memory, and says why not all of it could be
 * written; null when it was. umount(2) says 0 either way, and then nobody is left to ask.
 */
export function unsaved(kernel: Kernel, mount: Mount): string | null {
  // syncfs(2) of a filesystem that takes no writes any more has nothing to do, and says 0 too.
  if (mount.superOptions.includes("ro") && !mount.options.includes("ro")) {
    return "the kernel had made it read-only after an error";
  }
  try {
    return withFd(
      kernel,
      kernel.open(mount.path, O_RDONLY | O_DIRECTORY | noAtime(kernel)),
      (fd) => {
        if (statFd(kernel, fd).mountId !== mount.id) return `${mount.path} leads elsewhere by now`;
        kernel.syncfs(fd);
        return null;
      },
    );
  } catch (error) {
    if (error instanceof SystemError) return error.message;
    throw error;
  }
}
