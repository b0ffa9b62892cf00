import { readLineOrNull } from "./files.ts";
import type { Kernel } from "./kernel.ts";
import { type Mount, mountOver, readMounts, waysTo } from "./mountinfo.ts";

/**
 * Filesystems that another program or another machine serves. When that falls silent, a program that uses a file
 * there waits for ever, and so does one that uses a loop device that shows such a file.
 */
const served = /^(fuse|nfs|cifs|smb3|9p|virtiofs|ceph|afs|lustre|orangefs|glusterfs|ocfs2|gfs2)/;

/**
 * Which loop devices show such a file: a function that gives, for the name of one ("loop0", "loop0p1"), the mount
 * that its file lies in; null where it lies on a disk, and of every other device. Nothing is asked
 * that may not answer.
 */
export function servedFiles(kernel: Kernel): (name: string) => Mount | null {
  let mounts: readonly Mount[] | undefined;
  return (name) => {
    const [loop] = /^loop\d+/.exec(name) ?? [];
    if (loop === undefined) return null;
    mounts ??= readMounts(kernel, ({ type }) => served.test(type));
    if (mounts.length === 0) return null;
    const file = readLineOrNull(kernel, `/sys/block/${loop}/loop/backing_file`);
    if (file === null) return null;
    const ways = new Set(waysTo(file));
    if (!mounts.some(({ path }) => ways.has(path))) return null;
    // Something local may be mounted below it.
    const mount = mountOver(
      readMounts(kernel, ({ path }) => ways.has(path)),
      file,
    );
    return mount !== undefined && served.test(mount.type) ? mount : null;
  };
}
