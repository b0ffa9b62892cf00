import { filesystemInfo } from "../btrfs/ioctls.ts";
import { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno, reasonOf, SystemError } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { decideCapacity, growToDevice, lookAtCapacity, noteDisk } from "./capacity.ts";
import { type Context, closeAll, newContext, type Progress } from "./context.ts";
import { VolumeError } from "./error.ts";
import { assertThawed } from "./frozen.ts";
import { asNoSpace } from "./host-space.ts";
import { holdersText, processesIn } from "./holders.ts";
import { mountError } from "./mount.ts";
import { refusedOption, wrongOption } from "./mount-options.ts";
import { MountJournal } from "./mount-journal.ts";
import { applyNocow, hasNocowDue, lookAtNocow } from "./nocow.ts";
import type { VolumeOptions } from "./options.ts";
import {
  assertWritable,
  lookAtPlaces,
  mountpointsResult,
  mountReports,
  mountResult,
  noteDeviations,
  noteElsewhere,
  noteReceived,
  openTop,
  type Places,
} from "./places.ts";
import { makeWithoutLinks } from "./planted-links.ts";
import { closeHolder } from "./raw-place.ts";
import type { Report } from "./report.ts";
import { assertRoot } from "./root-user.ts";
import { settleFilesystem } from "./settle.ts";
import { openSource, type Source } from "./source.ts";
import {
  makeSubvolume,
  planSubvolumes,
  subvolumesResult,
  unlockSubvolumes,
  withoutSubvolumes,
} from "./subvolumes.ts";
import { decide, judgeNow, type Survey, survey } from "./survey.ts";
import type { Root, Target } from "./targets.ts";
import { noteTemporary } from "./uuid.ts";

/** The mode of a new directory or subvolume does not depend on the umask that the program inherits. */
const umask = 0o022;

/** Brings the volume up. Never throws: a failure is in the report. */
export function up(kernel: Kernel, options: VolumeOptions, progress: Progress): Report {
  const context = newContext(kernel, options, true, progress);
  const { recorder, note } = context;
  const journal = new MountJournal(kernel);
  const callersUmask = kernel.umask(umask);
  let source: Source | null = null;
  try {
    recorder.in("device", () => assertRoot(kernel));
    source = recorder.in("device", () => openSource(context));
    bringUp(context, source, journal);
    source.close();
  } catch (error) {
    recorder.fail(asNoSpace(error, () => source?.hostSpace() ?? null));
    closeAll(context);
    if (source?.undo(note) === true) recorder.retract("device");
  } finally {
    closeAll(context);
    journal.close();
    kernel.umask(callersUmask);
  }
  return recorder.report();
}

/** Undoes the mounts, and no step goes on saying that it mounted something, unless that would not go. */
function takeBack({ kernel, recorder, note }: Context, journal: MountJournal): void {
  if (journal.isEmpty) return;
  const left = journal.undo(({ path }, mountId) => note(livesOn(kernel, path, mountId)));
  for (const { target, reason } of left) note(`${target.path} is still mounted: ${reason}`);
  const subvolumes = left.map(({ target }) => target).filter(({ subvolume }) => subvolume !== "");
  if (subvolumes.length === left.length) recorder.retract("mount");
  if (subvolumes.length === 0) recorder.retract("mountpoints");
  recorder.mounts = mountReports({ subvolumes });
}

const lookMs = 500;

/** Somebody was quicker, and has a mount in use that is taken back: what that means. */
function livesOn(kernel: Kernel, path: string, mountId: number): string {
  const who = users(kernel, mountId);
  return (
    `ATTENTION: ${path} was in use when it was unmounted again after the failure${who === "" ? "" : `: ${who}`}. What has a file of it open ` +
    "goes on writing to the volume, and keeps it mounted out of sight until it ends"
  );
}

/** Whatever goes wrong here, the mount must go. */
function users(kernel: Kernel, mountId: number): string {
  try {
    return holdersText(processesIn(kernel, new Set([mountId]), new Deadline(kernel, lookMs)));
  } catch (error) {
    if (error instanceof SystemError) return "";
    throw error;
  }
}

function bringUp(context: Context, source: Source, journal: MountJournal): void {
  const { kernel, recorder, progress } = context;
  const found = survey(context, source);
  recorder.in("device", () => {
    const result = source.prepare(progress);
    recorder.disk(source.path, source.disk.sizeBytes, result);
  });
  recorder.in("filesystem", () => settleFilesystem(context, source, found));
  kernel.uninterrupted(() => {
    try {
      mountAll(context, source, journal, found);
    } catch (error) {
      // Descriptors inside the mounts would keep them busy.
      closeAll(context);
      takeBack(context, journal);
      throw error;
    }
  });
}

/** From the first mount to the last directory: all of it, or none of the mounts. */
function mountAll(context: Context, source: Source, journal: MountJournal, found: Survey): void {
  const { kernel, recorder, layout, note } = context;
  const { root, places } = recorder.in("mount", () => withRoot(context, source, found));
  const { whole, subvolumes, missing, mounts } = places;
  const { path } = source.device;
  const { mountPath } = source;

  const top = recorder.in("mount", () => {
    source.assertStillChosen();
    if (missing.has(whole)) mountWhole(context, source, journal, root, whole, found);
    const fd = openTop(context, root, whole);
    if (missing.has(whole)) {
      const { fsid } = filesystemInfo(kernel, fd);
      assertMountedFrom(source, fsid, whole.path);
      if (found.verdict.kind !== "mounted") noteTemporary(recorder.uuid ?? fsid, fsid, note);
    }
    assertWritable(kernel, fd, mounts);
    if (found.verdict.kind === "mounted") {
      noteElsewhere(kernel, fd, places, note);
      noteDeviations(layout, places, note);
    }
    recorder.set("mount", mountResult({ ...places, isOpenToAll: false }));
    return fd;
  });

  const isOld = found.verdict.kind === "mounted";
  // Nobody can have frozen what was mounted this moment.
  let isAsked = !isOld;
  /** Before something is written. */
  const assertWrites = (isDue: boolean): void => {
    if (isDue && !isAsked) assertThawed(kernel, top, whole.path);
    isAsked ||= isDue;
  };

  // Everything inside is looked at before anything inside is changed.
  const capacity = recorder.in("capacity", () => {
    // Nor cut it since.
    const bytes = isOld ? source.backedBytes : source.device.sizeBytes;
    return lookAtCapacity(kernel, top, path, bytes);
  });
  const due = recorder.in("subvolumes", () => planSubvolumes(kernel, top, layout));

  recorder.in("capacity", () => {
    noteDisk(capacity, whole.path, note);
    assertWrites(decideCapacity(capacity) === "grow");
    recorder.set("capacity", growToDevice(kernel, top, capacity, note));
  });
  const locked = recorder.in("subvolumes", () => {
    assertWrites(due.create.length + due.unlock.length > 0);
    for (const name of due.create) makeSubvolume(kernel, top, name);
    const unlock = unlockSubvolumes(kernel, top, due.unlock, note);
    recorder.set("subvolumes", subvolumesResult({ create: due.create, unlock }, layout));
    noteReceived(due.locked, places, note);
    return [...due.locked, ...due.unlock.filter((name) => !unlock.includes(name))];
  });
  recorder.in("mountpoints", () => {
    for (const target of subvolumes.filter((one) => missing.has(one))) {
      mountOrExplain(context, journal, root, target, mountPath, `subvol=${target.subvolume}`);
    }
    recorder.set("mountpoints", mountpointsResult(places));
    recorder.mounts = mountReports(places);
  });
  recorder.in("nocow", () => {
    const writable = withoutSubvolumes(layout, locked);
    const directories = lookAtNocow(kernel, top, writable, note);
    assertWrites(hasNocowDue(directories));
    recorder.set("nocow", applyNocow(kernel, top, directories, writable, note));
  });
  // Last, because a failure takes mounts back, and not this.
  if (!places.isOpenToAll) return;
  recorder.in("mount", () => {
    const isClosed = closeHolder(kernel, root.fd, layout, note);
    recorder.set("mount", mountResult({ ...places, isOpenToAll: isClosed }));
  });
}

/** After the mount the kernel says which device it was. Where the node was swapped for another, it is undone. */
function assertMountedFrom(source: Source, uuid: string, path: string): void {
  if (source.mountedUuid() === uuid) return;
  throw new VolumeError("busy", `what was mounted at ${path} is another disk than ${source.path}`, {
    hint: "see who changes the nodes in /dev, then run the command again",
  });
}

/** Makes the directory of --root where it is missing, and then knows where everything belongs. */
function withRoot(
  context: Context,
  source: Source,
  { verdict, places }: Survey,
): { root: Root; places: Places } {
  const { kernel, options } = context;
  if (places.root !== null) return { root: places.root, places };
  const rootPath = options.root ?? "/";
  try {
    makeWithoutLinks(kernel, "--root", rootPath, 0o755);
  } catch (error) {
    if (error instanceof VolumeError) throw error;
    throw new VolumeError("mount-failed", `--root ${rootPath} cannot be made: ${reasonOf(error)}`, {
      cause: error,
      hint: "make the directory first, or name another one",
    });
  }
  const anew = lookAtPlaces(context, source, verdict);
  if (anew.root === null) throw new VolumeError("mount-failed", `${rootPath} could not be made`);
  return { root: anew.root, places: anew };
}

/** Errors of mount(2) that find fault with the filesystem, and not with who asks or when. */
const faults = [Errno.EINVAL, Errno.EIO, Errno.EUCLEAN, Errno.ENOENT];

/**
 * The first mount decides the filesystem-wide options. When the kernel finds fault with a
 * filesystem that was only glanced at, it is judged in full, and repaired if that is due.
 */
function mountWhole(
  context: Context,
  source: Source,
  journal: MountJournal,
  root: Root,
  whole: Target,
  found: Survey,
): void {
  const { kernel, layout, recorder } = context;
  const data = `${layout.options},subvolid=5`;
  try {
    journal.mount(root, whole, source.mountPath, data);
  } catch (error) {
    if (!(error instanceof SystemError) || error.call !== "mount") throw error;
    const option = isErrno(error, Errno.EINVAL) ? refusedOption(kernel, layout) : null;
    if (option !== null) throw wrongOption(`this kernel does not take ${option}`);
    const superblock = found.verdict.kind === "btrfs" ? found.verdict.superblock : null;
    const sound = superblock === null ? null : { disk: source.disk, superblock };
    const refused = (): VolumeError => mountError(kernel, source.path, sound, error);
    if (superblock === null || !isErrno(error, ...faults)) throw refused();
    const verdict = judgeNow(context, source, source.mountedUuid());
    if (verdict.kind === "btrfs" || verdict.kind === "mounted") throw refused();
    recorder.in("filesystem", () => {
      recorder.found(verdict);
      const action = decide(context, source, verdict);
      settleFilesystem(context, source, { verdict, action });
    });
    recorder.in("mount", () => {
      mountOrExplain(context, journal, root, whole, source.mountPath, data);
    });
  }
}

/** A mount after which there is nothing left to try. */
function mountOrExplain(
  { kernel }: Context,
  journal: MountJournal,
  root: Root,
  target: Target,
  device: string,
  data: string,
): void {
  try {
    journal.mount(root, target, device, data);
  } catch (error) {
    if (!(error instanceof SystemError) || error.call !== "mount") throw error;
    throw mountError(kernel, device, null, error);
  }
}
