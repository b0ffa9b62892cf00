import { filesystemInfo } from "../btrfs/ioctls.ts";
import { SystemError } from "../linux/errno.ts";
import { mountIdOf, openAtOnce, statOrNull, withFd } from "../linux/files.ts";
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
  /** Filesystems that have answered: no other mount of theirs is asked. */
  const strangers = new Set<string>();
  let likely: string | null = null;
  for (const mount of mounts) {
    const { type, device, source } = mount;
    if (type !== "btrfs" || strangers.has(device)) continue;
    const answer = uuidOf(kernel, mount);
    if (answer === uuid) return device;
    if (answer !== null) strangers.add(device);
    // A mount that another one hides cannot be asked.
    else if (statOrNull(kernel, source)?.nodeDevice === nodeDevice) likely ??= device;
  }
  return likely !== null && !strangers.has(likely) ? likely : null;
}

/** The UUID of the filesystem of a mount; null when the path leads to another mount by now. */
function uuidOf(kernel: Kernel, mount: Mount): string | null {
  try {
    const fd = openAtOnce(kernel, mount.path, O_RDONLY | O_DIRECTORY | O_NOATIME);
    return withFd(kernel, fd, () =>
      mountIdOf(kernel, fd) === mount.id ? filesystemInfo(kernel, fd).fsid : null,
    );
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
