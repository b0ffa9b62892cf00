import { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno, reasonOf, type SystemError } from "../linux/errno.ts";
import { openDirectoryBeneath, withFd } from "../linux/files.ts";
import { type Kernel, MNT_EXPIRE } from "../linux/kernel.ts";
import type { Mount } from "../linux/mountinfo.ts";
import { VolumeError } from "./error.ts";
import { mountIdAt, type Spot, splitPath, unmountAt } from "./mount-journal.ts";
import { inOrderOfGoing } from "./mounted.ts";
import type { Hung } from "./propagation.ts";
import type { Root } from "./targets.ts";

/** Somebody who only opens and closes a file, again and again, is no reason to stop. */
const patienceMs = 250;
const stepMs = 10;

/** Does something with the place of a mount, if the mount is still there. Throws `busy` when it is not. */
function atPlaceOf<T>(kernel: Kernel, root: Root, mount: Mount, use: (spot: Spot) => T): T {
  const [parentPath, name] = splitPath(
    mount.path.slice(root.path === "/" ? 1 : root.path.length + 1),
  );
  return withFd(kernel, openDirectoryBeneath(kernel, root.fd, parentPath), (parent) => {
    const spot = { parent, name };
    // The look also takes away the mark that an earlier question left: see `isFree`.
    if (mountIdAt(kernel, spot) === mount.id) return use(spot);
    throw new VolumeError("busy", `${mount.path} leads to something else by now`, {
      hint: "run the command again",
    });
  });
}

/** What umount(2) says of a mount that may not go from here; EINVAL of one that a user namespace came with. */
function notOurs({ path }: Mount, error: SystemError): VolumeError {
  const why = `${path} cannot be unmounted: ${reasonOf(error)}`;
  const hint =
    error.errno === Errno.EPERM
      ? "run it as root, with the right to mount (CAP_SYS_ADMIN)"
      : "it came from another mount namespace: run the command there";
  return new VolumeError("permission", why, { cause: error, hint });
}

/**
 * Asks the kernel whether anybody has a mount in use, and changes nothing: MNT_EXPIRE marks an unused mount
 * (EAGAIN), and would unmount it if it were asked once more before anybody looked at it (umount(2)).
 */
function isFree(kernel: Kernel, root: Root, mount: Mount): boolean {
  return atPlaceOf(kernel, root, mount, (spot) => {
    try {
      unmountAt(kernel, spot, MNT_EXPIRE);
      // Somebody else had asked a moment ago, and now it is gone, which was wanted anyway.
      return true;
    } catch (error) {
      if (isErrno(error, Errno.EAGAIN)) return true;
      if (isErrno(error, Errno.EBUSY)) return false;
      if (isErrno(error, Errno.EPERM, Errno.EINVAL)) throw notOurs(mount, error);
      throw error;
    }
  });
}

/** The first of our mounts that is in use and stays so for longer than a moment; null when all can go. */
export function firstBusy(kernel: Kernel, root: Root, own: readonly Hung[]): Mount | null {
  const until = new Deadline(kernel, patienceMs);
  const bases = new Set(own.map(({ mount }) => mount.parentId));
  // One on which another is mounted cannot be asked.
  const asked = inOrderOfGoing(own).filter(({ id }) => !bases.has(id));
  for (;;) {
    const busy = asked.find((mount) => !isFree(kernel, root, mount));
    if (busy === undefined) return null;
    if (until.isOver) return busy;
    kernel.waitReadable([], stepMs);
  }
}

/** Unmounts one after the other, and puts each into `gone` when it is. Throws EBUSY of one that is in use. */
export function unmountEach(kernel: Kernel, root: Root, own: readonly Hung[], gone: Mount[]): void {
  for (const mount of inOrderOfGoing(own)) {
    unmountSoon(kernel, root, mount);
    gone.push(mount);
  }
}

function unmountSoon(kernel: Kernel, root: Root, mount: Mount): void {
  const until = new Deadline(kernel, patienceMs);
  for (;;) {
    try {
      atPlaceOf(kernel, root, mount, (spot) => unmountAt(kernel, spot));
      return;
    } catch (error) {
      if (isErrno(error, Errno.EPERM, Errno.EINVAL)) throw notOurs(mount, error);
      if (!isErrno(error, Errno.EBUSY) || until.isOver) throw error;
      kernel.waitReadable([], stepMs);
    }
  }
}
