import { isMounted } from "../btrfs/mounted.ts";
import { Errno, isErrno, reasonOf, type SystemError } from "../linux/errno.ts";
import { openDirectoryBeneath, statOrNull, withFd } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { isAttached } from "../linux/loop.ts";
import { type Mount, readMounts } from "../linux/mountinfo.ts";
import { type Context, closeAll, newContext, type Progress } from "./context.ts";
import { assertMayGo } from "./deleted-image.ts";
import { chooseDevice } from "./device.ts";
import { VolumeError } from "./error.ts";
import { type Holder, holdersOf, holdersText, loopsBelow, swapsBelow } from "./holders.ts";
import { asItIs, type VolumeOptions } from "./options.ts";
import { mountIdAt, splitPath, unmountAt } from "./mount-journal.ts";
import { filesystemDevice } from "./ours.ts";
import type { Report } from "./report.ts";
import { assertRoot } from "./root-user.ts";
import { openSite } from "./site.ts";
import { openSource, type Source } from "./source.ts";
import { type Root, targetsOf } from "./targets.ts";
import { unsaved } from "./unsaved.ts";
import { uuidOnDisk } from "./uuid.ts";

/** Unmounts the volume and proves that it is gone. Never throws: a failure is in the report. */
export function down(kernel: Kernel, options: VolumeOptions, progress: Progress): Report {
  // Not "acting": an image that is missing is not made.
  const context = newContext(kernel, asItIs(options), false, progress);
  const { recorder } = context;
  let source: Source | null = null;
  try {
    recorder.in("device", () => assertRoot(kernel));
    source = recorder.in("device", () => sourceOrNull(context));
    if (source !== null) takeDown(context, source);
  } catch (error) {
    recorder.fail(error);
  } finally {
    source?.close();
    closeAll(context);
  }
  return recorder.report();
}

/**
 * The disk; null when its node is not there. Then nothing of it can be mounted, unless it was pulled
 * out. A name that no disk bears may be a typing mistake, and the volume still up: an error.
 */
function sourceOrNull(context: Context): Source | null {
  try {
    const source = openSource(context);
    if (!source.isMissing) return source;
    throw new VolumeError("device-missing", `the image ${source.path} does not exist`);
  } catch (error) {
    if (!(error instanceof VolumeError) || error.code !== "device-missing") throw error;
    const isByName = context.options.image === undefined && chooseDevice(context).by === "selector";
    if (isByName) throw error;
    const [orphan] = ownMounts(
      context,
      rootOf(context),
      readMounts(context.kernel, () => true),
      null,
    );
    if (orphan !== undefined) {
      throw new VolumeError("device-missing", `${error.message}, but ${orphan.path} is mounted`, {
        hint: `name the disk that it is mounted from: ${orphan.source}`,
      });
    }
    context.recorder.set("device", { outcome: "kept", detail: error.message });
    context.recorder.set("unmount", { outcome: "kept", detail: "nothing is mounted" });
    return null;
  }
}

function takeDown(context: Context, source: Source): void {
  const { recorder, options, note } = context;
  recorder.in("device", () => assertMayGo(source, options.discardDeleted ?? false, note));
  recorder.in("unmount", () => {
    const uuid = source.mountedUuid();
    if (uuid === null) {
      assertNothingMounted(context, source);
      noteOtherDisk(context);
      recorder.set("unmount", { outcome: "kept", detail: "nothing is mounted" });
      return;
    }
    recorder.verdict = "mounted";
    recorder.uuid = uuidOnDisk(context.kernel, source.disk, uuid, context.note);
    unmountAll(context, source, uuid);
  });
  recorder.in("detach", () => detach(context, source));
}

/** Nor through another device; and without sysfs the kernel cannot say: its mount table must agree. */
function assertNothingMounted(context: Context, source: Source): void {
  if (!source.isAttached) return;
  const twin = source.mountedTwin();
  if (twin !== null) {
    throw stillInUse(source, `${twin} is the same disk, and is mounted`, `name that one: ${twin}`);
  }
  const { kernel } = context;
  const { nodeDevice } = source.device;
  const [mount] = readMounts(kernel, () => true).filter(
    ({ type, source: path }) =>
      type === "btrfs" && statOrNull(kernel, path)?.nodeDevice === nodeDevice,
  );
  if (mount === undefined) return;
  throw stillInUse(
    source,
    `it is mounted at ${mount.path}, but sysfs does not show it`,
    "mount /sys first",
  );
}

/** The wrong disk may have been named, or an image replaced: then it is down, and the volume is not. */
function noteOtherDisk(context: Context): void {
  const [other] = ownMounts(
    context,
    rootOf(context),
    readMounts(context.kernel, () => true),
    null,
  );
  if (other === undefined) return;
  context.note(`${other.path} is mounted, but from another disk: ${other.source}`);
}

const rootOf = (context: Context): Root | null => openSite(context).root;

/** Our mounts in the order of the table; of any Btrfs when `filesystem` is null. */
function ownMounts(
  { layout }: Context,
  root: Root | null,
  table: readonly Mount[],
  filesystem: string | null,
): readonly Mount[] {
  if (root === null) return [];
  const places = new Map(targetsOf(layout, root.path).map((target) => [target.path, target]));
  return table.filter(
    ({ type, device, root: mountRoot, path }) =>
      type === "btrfs" &&
      (filesystem === null || device === filesystem) &&
      mountRoot === `/${places.get(path)?.subvolume}`,
  );
}

function unmountAll(context: Context, source: Source, uuid: string): void {
  const { kernel, recorder } = context;
  const table = readMounts(kernel, () => true);
  const filesystem = filesystemDevice(kernel, table, source.device.nodeDevice, uuid);
  const root = rootOf(context);
  const mounts = filesystem === null ? [] : ownMounts(context, root, table, filesystem);
  // Where this namespace shows no mount of it, only the path in another's table can tell.
  const isOurs: IsOurs = (mount) =>
    mount.type === "btrfs" &&
    (filesystem === null
      ? statOrNull(kernel, mount.source)?.nodeDevice === source.device.nodeDevice
      : mount.device === filesystem);
  const others = table.filter((mount) => mount.device === filesystem && !mounts.includes(mount));
  if (others.length > 0) {
    const paths = others.map(({ path }) => path).join(", ");
    throw stillInUse(
      source,
      `it is also mounted at ${paths}`,
      `unmount it there first: ${paths}; if up was given a --layout, give the same here`,
    );
  }

  for (const mount of mounts) assertReachable(kernel, source, mount, table, mounts);
  // Asked before the first unmount: half a volume taken away helps nobody.
  const held = mounts.length === 0 ? [] : holders(kernel, isOurs, mounts).filter(isHere);
  if (held.length > 0) throw stillInUse(source, holdersText(held), stopHint);

  const doubt = mounts.length === 0 ? null : unsaved(kernel, mounts);
  for (const mount of mounts.toReversed()) {
    if (root !== null) unmount(kernel, source, root, mount, mounts, isOurs);
  }
  proveGone(kernel, source, uuid, isOurs);
  if (doubt !== null) recorder.note(doubt);
  const count = `${mounts.length} mounts removed`;
  recorder.set("unmount", {
    outcome: "changed",
    detail: doubt === null ? `${count}, the filesystem is clean` : count,
  });
}

/** What is mounted over ours or inside it is somebody else's, and would go or be in the way. */
function assertReachable(
  kernel: Kernel,
  source: Source,
  mount: Mount,
  table: readonly Mount[],
  mounts: readonly Mount[],
): void {
  const { path, id } = mount;
  if (statOrNull(kernel, path)?.mountId !== id) {
    throw stillInUse(source, `something else is mounted over ${path}`, "unmount that first");
  }
  const nested = table.filter(
    (other) => other.path.startsWith(`${path}/`) && !mounts.includes(other),
  );
  if (nested.length > 0) {
    const paths = nested.map((other) => `${other.path} (${other.type})`).join(", ");
    throw stillInUse(source, `mounted inside it: ${paths}`, stopHint);
  }
}

const thawHint =
  "if it is frozen (fsfreeze), bring it up, thaw it, and run the command again; else stop what uses it";

const stopHint = "stop what uses it, then run the command again";

type IsOurs = (mount: Mount) => boolean;

/** A copy of the mounts in another namespace may follow ours when they go; all others will not. */
const isHere = ({ onlyByCopy }: Holder): boolean => !onlyByCopy;

function holders(kernel: Kernel, isOurs: IsOurs, mounts: readonly Mount[]): readonly Holder[] {
  const paths = mounts.map(({ path }) => path);
  return [...holdersOf(kernel, isOurs), ...loopsBelow(kernel, paths), ...swapsBelow(kernel, paths)];
}

function stillInUse(source: Source, why: string, hint: string): VolumeError {
  return new VolumeError("busy", `${source.path} is still in use: ${why}`, { hint });
}

function unmount(
  kernel: Kernel,
  source: Source,
  root: Root,
  mount: Mount,
  mounts: readonly Mount[],
  isOurs: IsOurs,
): void {
  const [parentPath, name] = splitPath(
    mount.path.slice(root.path === "/" ? 1 : root.path.length + 1),
  );
  try {
    withFd(kernel, openDirectoryBeneath(kernel, root.fd, parentPath), (parent) => {
      if (mountIdAt(kernel, { parent, name }) !== mount.id) {
        throw stillInUse(source, `${mount.path} leads to something else by now`, stopHint);
      }
      unmountAt(kernel, { parent, name });
    });
  } catch (error) {
    if (isErrno(error, Errno.EPERM, Errno.EINVAL)) throw notOurs(mount, error);
    if (!isErrno(error, Errno.EBUSY)) throw error;
    const inside = readMounts(kernel, () => true).filter(({ path }) =>
      path.startsWith(`${mount.path}/`),
    );
    const held = holders(kernel, isOurs, mounts);
    const nested = inside.map(({ path }) => `${path} is mounted inside it`);
    const why = [...nested, ...(held.length > 0 ? [holdersText(held)] : [])].join("; ");
    throw stillInUse(source, why === "" ? `${mount.path} is busy` : why, stopHint);
  }
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

/** The last reference may go a moment after the last unmount, when another process drops it. */
const settleMs = 500;
const settleStepMs = 10;

/** umount(2) says 0 also when a copy in another mount namespace keeps the filesystem alive. */
function proveGone(kernel: Kernel, source: Source, uuid: string, isOurs: IsOurs): void {
  const deadlineMs = kernel.nowMs() + settleMs;
  while (isMounted(kernel, uuid)) {
    if (kernel.nowMs() < deadlineMs) {
      kernel.waitReadable([], settleStepMs);
      continue;
    }
    const found = holdersOf(kernel, isOurs);
    if (found.length > 0) throw stillInUse(source, holdersText(found), stopHint);
    throw stillInUse(source, "by something that cannot be seen from here", thawHint);
  }
}

function detach({ kernel, recorder }: Context, source: Source): void {
  const path = source.detach();
  if (path === null) return;
  const deadlineMs = kernel.nowMs() + settleMs;
  while (isAttached(kernel, path) && kernel.nowMs() < deadlineMs) {
    kernel.waitReadable([], settleStepMs);
  }
  if (isAttached(kernel, path)) {
    throw new VolumeError("busy", `${path} is unmounted but somebody still has it open`, {
      hint: "the kernel detaches it when the last one closes it",
    });
  }
  recorder.set("detach", { outcome: "changed", detail: `${path} detached` });
}
