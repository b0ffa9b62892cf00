import { filesystemInfo } from "../btrfs/ioctls.ts";
import { SystemError } from "../linux/errno.ts";
import { statFd, statOrNull, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECTORY, O_NOATIME, O_RDONLY } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";

/**
 * The "major:minor" that all mounts of our filesystem share in the mount table, or null when this
 * mount namespace has none. The table names the device by a path that may have changed
 * since, so where no path leads to our device the filesystem itself is asked for its UUID.
 */
export function filesystemDevice(
  kernel: Kernel,
  mounts: readonly Mount[],
  nodeDevice: string,
  uuid: string,
): string | null {
  const candidates = mounts.filter(({ type }) => type === "btrfs");
  const byPath = candidates.find(
    ({ source }) => statOrNull(kernel, source)?.nodeDevice === nodeDevice,
  );
  const found = byPath ?? candidates.find((mount) => uuidOf(kernel, mount) === uuid);
  return found?.device ?? null;
}

/** The UUID of the filesystem of a mount; null when the path leads to another mount by now. */
function uuidOf(kernel: Kernel, mount: Mount): string | null {
  try {
    const fd = kernel.open(mount.path, O_RDONLY | O_DIRECTORY | O_NOATIME);
    return withFd(kernel, fd, () =>
      statFd(kernel, fd).mountId === mount.id ? filesystemInfo(kernel, fd).fsid : null,
    );
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
