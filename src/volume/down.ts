import { statOrNull } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import { isAttached } from "../linux/loop.ts";
import { type Context, closeAll, newContext, type Progress } from "./context.ts";
import { assertMayGo } from "./deleted-image.ts";
import { chooseDevice } from "./device.ts";
import { VolumeError } from "./error.ts";
import { assertNothingInTheWay, type Subject, stillInUse, stopHint, whoHas } from "./in-the-way.ts";
import { inPlace, lookAtMounted, nothingMounted } from "./mounted.ts";
import { asItIs, type VolumeOptions } from "./options.ts";
import { filesystemDevice } from "./ours.ts";
import { insideOf } from "./overlay.ts";
import type { Report } from "./report.ts";
import { assertRoot } from "./root-user.ts";
import { openSite, placesOf, type Site } from "./site.ts";
import { openSource, type Source } from "./source.ts";
import { assertGone, takeAway } from "./take-away.ts";
import { firstBusy } from "./unmounting.ts";
import { unsaved } from "./unsaved.ts";
import { uuidAtRest, uuidOnDisk } from "./uuid.ts";

/** The last reference to a loop device may go a moment after it was detached. */
const settleMs = 500;
const settleStepMs = 10;

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
    const site = openSite(context);
    const [orphan] = inPlace(site, site.table.all(), null);
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
    const site = openSite(context);
    if (uuid === null) {
      assertNothingMounted(context, source, site);
      noteOtherDisk(context, site);
      recorder.uuid = uuidAtRest(source.disk);
      recorder.set("unmount", { outcome: "kept", detail: "nothing is mounted" });
      return;
    }
    recorder.verdict = "mounted";
    recorder.uuid = uuidOnDisk(context.kernel, source.disk, uuid, context.note);
    unmountAll(context, source, site, uuid);
  });
  recorder.in("detach", () => detach(context, source));
}

/** Looks for a mount through another device too, and in the mount table, in case sysfs is not there to be asked. */
function assertNothingMounted({ kernel }: Context, source: Source, site: Site): void {
  if (!source.isAttached) return;
  const twin = source.mountedTwin();
  if (twin !== null) {
    throw stillInUse(
      source.path,
      `${twin} is the same disk, and is mounted`,
      `name that one: ${twin}`,
    );
  }
  const { nodeDevice } = source.device;
  const mount = site.table
    .all()
    .find(
      ({ type, source: path }) =>
        type === "btrfs" && statOrNull(kernel, path)?.nodeDevice === nodeDevice,
    );
  if (mount === undefined) return;
  throw stillInUse(
    source.path,
    `it is mounted at ${mount.path}, but sysfs does not show it`,
    "mount /sys first",
  );
}

/** The wrong disk may have been named, or an image replaced: then it is down, and the volume is not. */
function noteOtherDisk({ note }: Context, site: Site): void {
  const [other] = inPlace(site, site.table.all(), null);
  if (other === undefined) return;
  note(`${other.path} is mounted, but from another disk: ${other.source}`);
}

function unmountAll(context: Context, source: Source, site: Site, uuid: string): void {
  const { kernel, recorder, layout } = context;
  const { nodeDevice } = source.device;
  const filesystem = filesystemDevice(kernel, site.table.all(), nodeDevice, uuid);
  const mounted = filesystem === null ? nothingMounted : lookAtMounted(kernel, site, filesystem);
  const mounts = mounted.own.map(({ mount }) => mount);
  const inside = insideOf(kernel, mounts);
  const { path } = source;
  const subject: Subject = { path, uuid, filesystem, nodeDevice, inside, mounted, mounts };
  assertNothingInTheWay(kernel, subject);
  const { root, targets } = site;
  if (root === null || mounts.length === 0) {
    assertGone(kernel, { ...subject, inside: placesOf(site) });
    recorder.set("unmount", { outcome: "kept", detail: "nothing is mounted" });
    return;
  }

  const busy = firstBusy(kernel, root, mounted.own);
  if (busy !== null) throw stillInUse(path, whoHas(kernel, subject, busy), stopHint);
  const doubt = unsaved(context, mounts, source.device);
  const origin = { root, targets, device: source.mountPath, options: layout.options };
  kernel.uninterrupted(() => takeAway(kernel, subject, origin));
  if (doubt !== null) recorder.note(doubt);
  const count = `${mounts.length} mounts removed`;
  recorder.set("unmount", {
    outcome: "changed",
    detail: doubt === null ? `${count}, the filesystem is clean` : count,
  });
}

function detach({ kernel, recorder }: Context, source: Source): void {
  const path = source.detach();
  if (path === null) return;
  const deadlineMs = kernel.nowMs() + settleMs;
  while (isAttached(kernel, path) && kernel.nowMs() < deadlineMs) {
    kernel.waitReadable([], settleStepMs);
  }
  if (isAttached(kernel, path)) {
    throw new VolumeError("busy", `${path} is unmounted, but another program still has it open`, {
      hint: `the kernel detaches it when the last one closes it; who that is: fuser -v ${path}`,
    });
  }
  recorder.set("detach", { outcome: "changed", detail: `${path} detached` });
}
