import { deviceCount, isBtrfsLoaded } from "../btrfs/mounted.ts";
import {
  isSeed,
  isValidCopy,
  parseSuperblock,
  primaryOffset,
  type Superblock,
  superblockBytes,
} from "../btrfs/superblock.ts";
import { assertUnclaimed, dropCache } from "../linux/block-device.ts";
import { Errno, isErrno, SystemError } from "../linux/errno.ts";
import { procPath } from "../linux/files.ts";
import type { Kernel } from "../linux/kernel.ts";
import type { Extent } from "./blank.ts";
import { severalDevices } from "./capacity.ts";
import { cmdlineChoice } from "./cmdline.ts";
import type { Context } from "./context.ts";
import { assertNotDeleted } from "./deleted-image.ts";
import type { Disk } from "./disk.ts";
import { VolumeError } from "./error.ts";
import { assertNoSeed, decideFilesystem, type FilesystemAction } from "./filesystem.ts";
import { findMkfs } from "./format.ts";
import { assertRoom, spaceWarning } from "./host-space.ts";
import { mountError, unmountable, whyNotMounted } from "./mount.ts";
import { assertMountOptions } from "./mount-options.ts";
import { type FormatPolicy, formatPolicies, type RepairPolicy, repairPolicies } from "./options.ts";
import { lookAtPlaces, type Places } from "./places.ts";
import type { Source } from "./source.ts";
import { uuidOnDisk } from "./uuid.ts";
import { glance, hasSeveralDevices, judge, type Verdict } from "./verdict.ts";

/** All that is looked at and decided before the first change, so that a refusal changes nothing. */
export interface Survey {
  readonly verdict: Verdict;
  readonly action: FilesystemAction;
  readonly places: Places;
}

export function survey(context: Context, source: Source): Survey {
  const { recorder } = context;
  recorder.in("device", () => assertUsable(context, source));
  const verdict = recorder.in("filesystem", () => lookAtDisk(context, source));
  const action = recorder.in("filesystem", () => decide(context, source, verdict));
  recorder.set("filesystem", { outcome: "kept", detail: `${verdict.kind}, not touched` });
  const places = recorder.in("mountpoints", () => lookAtPlaces(context, source, verdict));
  if (verdict.kind === "mounted" && places.missing.has(places.whole)) {
    recorder.in("filesystem", () => assertOneDevice(context.kernel, source, verdict.uuid));
  }
  return { verdict, action, places };
}

/** Refuses a mounted filesystem of several devices, before subvolumes are made in it. */
export function assertOneDevice(kernel: Kernel, { path }: Source, uuid: string): void {
  const count = deviceCount(kernel, uuid);
  if (count > 1) throw severalDevices(path, count);
}

/** Asked before anything on the disk is: who has it, and whether it can go on being a disk. */
function assertUsable({ note }: Context, source: Source): void {
  source.assertUnlocked();
  source.assertNoWriter();
  assertNotDeleted(source, note);
  const warning = source.isImage ? spaceWarning(source.hostSpace(), source.willGrow) : null;
  if (warning !== null) note(warning);
}

/** The verdict; of a warm boot only what a glance shows, for the kernel checks the rest at mount. */
function lookAtDisk(context: Context, source: Source): Verdict {
  const mountedUuid = source.mountedUuid();
  const superblock = context.acting && mountedUuid === null ? glanceOrNull(context, source) : null;
  const verdict: Verdict =
    superblock === null ? judgeNow(context, source, mountedUuid) : { kind: "btrfs", superblock };
  context.recorder.found(verdict);
  if (mountedUuid !== null) {
    context.recorder.uuid = uuidOnDisk(context.kernel, source.disk, mountedUuid, context.note);
  }
  return verdict;
}

/**
 * The full verdict. Where a write may follow it is taken past the page cache, which may still have what
 * the disk no longer has. (An image that is not attached yet has no other cache than its file's.)
 */
export function judgeNow(
  { kernel, acting, progress }: Context,
  source: Source,
  mountedUuid: string | null,
  extent: Extent = "all",
): Verdict {
  try {
    if (acting && mountedUuid === null && source.isAttached) dropCache(kernel, source.device.fd);
  } catch (error) {
    if (isErrno(error, Errno.EACCES, Errno.EPERM)) {
      const why = `the cache of ${source.path} cannot be dropped: permission denied`;
      const hint = "run it as root, with the right to mount (CAP_SYS_ADMIN)";
      throw new VolumeError("permission", why, { cause: error, hint });
    }
    if (error instanceof SystemError) return { kind: "unreadable", cause: error };
    throw error;
  }
  return judge(source.disk, mountedUuid, { extent, progress });
}

/**
 * What a glance cannot read, the full verdict will name. What speaks against a mount is believed of a superblock whose
 * checksum is right, and of no other: it may be what a damage has made of it.
 */
function glanceOrNull({ kernel }: Context, source: Source): ReturnType<typeof glance> {
  try {
    const superblock = glance(source.disk);
    if (superblock === null || unmountable(kernel, source.path, superblock) !== null) return null;
    return superblock;
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/** What to do about this verdict. Throws when the disk is refused, or cannot be worked on. */
export function decide(context: Context, source: Source, verdict: Verdict): FilesystemAction {
  const { kernel, acting } = context;
  const { format, repair } = policiesOf(context, verdict);
  // Who uses a disk of which nothing is known is a better answer than that nothing is known.
  if (verdict.kind === "unknown") source.assertNoOtherUse(verdict.kind);
  const { disk } = source;
  const action = decideFilesystem({
    device: source.path,
    sizeBytes: disk.sizeBytes,
    bytesNow: (disk.grownFrom ?? disk).sizeBytes,
    readOnly: source.readOnly,
    isFile: source.isImage,
    verdict,
    hasSeveralDevices: "mirror" in verdict && hasSeveralDevices(disk, verdict.mirror),
    mkfs: context.layout.mkfs,
    format: source.mayBeFormatted ? format : "never",
    repair,
  });
  if (action.kind === "format") {
    assertRoom(source.hostSpace());
    source.assertNoDiskWriter();
    findMkfs(kernel);
    assertBtrfsInKernel(context);
    assertMountOptions(kernel, context.layout);
  }
  if (verdict.kind === "mounted") {
    assertNoMountedSeed(source);
    return action;
  }
  const superblock = superblockAfter(action, verdict);
  // A mirror may name older trees than those that the repaired superblock will name.
  const isSure = verdict.kind === "btrfs" && !acting;
  if (superblock !== null) assertMountable(kernel, source, superblock, isSure);
  assertNotMountedElsewhere(source);
  source.assertNoOtherUse(verdict.kind);
  // Where a mount comes next, the kernel asks this by itself.
  const mountAsks = acting && action.kind === "keep";
  if (source.isAttached && !mountAsks) assertFree(context, source);
  return action;
}

/** The superblock that the kernel will find when it mounts; null of one that mkfs is still to make. */
function superblockAfter(action: FilesystemAction, verdict: Verdict): Superblock | null {
  if (action.kind === "repair") return action.mirror;
  return verdict.kind === "btrfs" ? verdict.superblock : null;
}

/**
 * Throws what the superblock tells beforehand of a filesystem that will not be mounted. Where nothing is going to be
 * mounted now, for a plan or a status, the trees are looked at too: else the kernel does that.
 */
export function assertMountable(
  kernel: Kernel,
  { path, disk }: Pick<Source, "path" | "disk">,
  superblock: Superblock,
  withTrees: boolean,
): void {
  const reason = withTrees
    ? whyNotMounted(kernel, path, { disk, superblock })
    : unmountable(kernel, path, superblock);
  if (reason !== null) throw reason;
}

/**
 * The superblock of a mounted filesystem is not judged, for it is being written; but the kernel never writes to
 * a seed device, which another filesystem may have grown from and now have in use.
 */
export function assertNoMountedSeed({ disk, path }: Source): void {
  const block = readOrNull(disk, primaryOffset, superblockBytes);
  if (block === null || block.length < superblockBytes) return;
  const superblock = parseSuperblock(block);
  // Only for a seed the checksum need be computed.
  if (isSeed(superblock) && isValidCopy(superblock, primaryOffset)) assertNoSeed(path, superblock);
}

function readOrNull(disk: Disk, offset: number, length: number): Uint8Array | null {
  try {
    return disk.read(offset, length);
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/**
 * A copy of a mounted filesystem is another filesystem, but the same bytes seen through two devices are
 * the same one, and the kernel, which does not see that, would destroy it by mounting it twice.
 */
function assertNotMountedElsewhere(source: Source): void {
  const twin = source.mountedTwin();
  if (twin === null) return;
  throw new VolumeError("busy", `${source.path} and ${twin} are the same disk, which is mounted`, {
    hint: `use ${twin}, and detach what shows it a second time (losetup -l)`,
  });
}

/**
 * Who builds a VM image may choose the policies on the kernel command line; a flag beats it. For a disk that
 * needs neither, it is not read.
 */
export function policiesOf(
  { options, cmdline, note }: Context,
  { kind }: Verdict,
): { readonly format: FormatPolicy; readonly repair: RepairPolicy } {
  if (kind === "btrfs" || kind === "mounted") return { format: "never", repair: "never" };
  const { format, repair } = options;
  if (format !== undefined && repair !== undefined) return { format, repair };
  const text = cmdline();
  if (text === null) note("/proc/cmdline cannot be read: what it says of formatting is not known");
  const line = text ?? "";
  return {
    format: format ?? cmdlineChoice(line, "arcbox.data_format", formatPolicies) ?? "blank",
    repair: repair ?? cmdlineChoice(line, "arcbox.data_repair", repairPolicies) ?? "auto",
  };
}

/** Throws `busy` when something has claimed the device. */
export function assertFree({ kernel }: Context, source: Source): void {
  try {
    assertUnclaimed(kernel, procPath(source.device.fd));
  } catch (error) {
    if (!isErrno(error, Errno.EBUSY)) throw error;
    throw mountError(kernel, source.path, null, error);
  }
}

/** A disk is not formatted for a kernel that cannot mount it. */
function assertBtrfsInKernel({ kernel, acting, note }: Context): void {
  if (isBtrfsLoaded(kernel)) return;
  if (!acting) {
    note("the kernel has not loaded Btrfs yet: `up` loads it, or fails before it formats");
    return;
  }
  try {
    // The kernel loads the module of a filesystem when it is asked to mount one. This device never exists.
    kernel.mount("/proc/self/no-such-device", "/", "btrfs", 0, "");
  } catch (error) {
    if (isErrno(error, Errno.ENODEV)) throw mountError(kernel, "Btrfs", null, error);
  }
}
