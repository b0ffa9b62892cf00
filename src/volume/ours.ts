import { filesystemInfo } from "../btrfs/ioctls.ts";
import { SystemError } from "../linux/errno.ts";
import { statFd, statOrNull, withFd } from "../linux/files.ts";
import { type Kernel, O_DIRECTORY, O_NOATIME, O_RDONLY } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";

/**
 * The "major:minor" that all mounts of our filesystem share in the mount table, or null when this
 * mount namespace has none. The table names the device by a path that may lead to another
 * since, so the filesystem itself is asked for its UUID.
 */
export function filesystemDevice(
  kernel: Kernel,
  mounts: readonly Mount[],
  nodeDevice: string,
  uuid: string,
): string | null {
  const candidates = mounts.filter(({ type }) => type === "btrfs");
  const asked = candidates.map((mount) => ({ mount, answer: uuidOf(kernel, mount) }));
  const sure = asked.find(({ answer }) => answer === uuid);
  // A mount that another one hides cannot be asked.
  const likely = asked.find(
    ({ mount, answer }) =>
      answer === null && statOrNull(kernel, mount.source)?.nodeDevice === nodeDevice,
  );
  return (sure ?? likely)?.mount.device ?? null;
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
