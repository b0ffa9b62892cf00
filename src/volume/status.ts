import { filesystemInfo } from "../btrfs/ioctls.ts";
import type { Superblock } from "../btrfs/superblock.ts";
import { Errno, isErrno } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { isForcedReadOnly, isReadOnly, type Mount } from "../linux/mountinfo.ts";
import { smallerDisk } from "./capacity.ts";
import { type Context, closeAll, newContext, type Progress } from "./context.ts";
import { VolumeError } from "./error.ts";
import { decideFilesystem } from "./filesystem.ts";
import { keepersOf } from "./keepers.ts";
import { asItIs, type VolumeOptions } from "./options.ts";
import { deviationsOf } from "./options-in-force.ts";
import { filesystemDevice } from "./ours.ts";
import { openTop } from "./places.ts";
import { healthOf } from "./problems.ts";
import { openSite, placesOf } from "./site.ts";
import { openSource, type Source } from "./source.ts";
import { nothing, type Status, type VolumeState } from "./status-report.ts";
import { lookInside } from "./status-live.ts";
import { lookAtSubvolumes } from "./status-subvolumes.ts";
import { type CopyReport, countOrNull, lookAtCopies } from "./superblocks.ts";
import { assertMountable, assertNoMountedSeed, assertOneDevice, policiesOf } from "./survey.ts";
import { isOwnMount, mountAt, type Root, type Target } from "./targets.ts";
import { uuidOnDisk } from "./uuid.ts";
import { hasSeveralDevices, judge, type Verdict } from "./verdict.ts";

/** Looks at the volume, up or down. Changes nothing and waits for no lock and no disk to come; never throws. */
export function status(kernel: Kernel, options: VolumeOptions, progress: Progress): Status {
  const context = newContext(kernel, asItIs(options), false, progress, false);
  let source: Source | null = null;
  try {
    const found = findSource(context);
    source = found.source;
    return collect(context, found);
  } catch (error) {
    context.recorder.fail(error);
    const { error: known, notes } = context.recorder.report();
    return { ...nothing, notes, ...(known === undefined ? {} : { error: known }) };
  } finally {
    source?.close();
    closeAll(context);
  }
}

interface Found {
  /** null when the disk is not there, or may not be opened: then only its mounts can be seen. */
  readonly source: Source | null;
  /** Why it is not there. */
  readonly absence: VolumeError | null;
  /** It may not be opened. */
  readonly isHidden: boolean;
}

function findSource(context: Context): Found {
  const found = (source: Source | null, absence: VolumeError | null): Found => ({
    source,
    absence,
    isHidden: source === null && absence === null,
  });
  try {
    const source = openSource(context);
    if (!source.isMissing) return found(source, null);
    const why = `the image ${source.path} does not exist`;
    context.note(why);
    context.recorder.device = null;
    return found(null, new VolumeError("device-missing", why, { hint: "volume up makes it" }));
  } catch (error) {
    // A loop device that may be the image's and may not be asked: a plain user sees the mounts alone.
    const isForbidden = isErrno(error, Errno.EACCES, Errno.EPERM);
    const code = error instanceof VolumeError ? error.code : null;
    if (code !== "device-missing" && code !== "permission" && !isForbidden) throw error;
    if (!(error instanceof Error)) throw error;
    const absence = error instanceof VolumeError && code === "device-missing" ? error : null;
    if (absence === null)
      context.recorder.device = context.options.image ?? context.options.device ?? null;
    context.note(
      absence === null ? `${error.message}; run it as root to see the disk itself` : error.message,
    );
    return found(null, absence);
  }
}

function collect(context: Context, { source, absence, isHidden }: Found): Status {
  const { kernel, note } = context;
  const disk = source === null ? null : lookAtDisk(context, source);
  const site = openSite(context);
  const { root, targets, table } = site;
  const found = new Map<Target, Mount | null>(
    targets.map((target) => [
      target,
      root === null ? null : mountAt(kernel, root.fd, target, table),
    ]),
  );
  const mountOf = (target: Target): Mount | null => found.get(target) ?? null;

  const [whole] = targets;
  const wholeMount = mountOf(whole);
  const filesystem =
    source === null
      ? wholeMount?.type === "btrfs"
        ? wholeMount.device
        : null
      : disk?.mountedUuid == null
        ? null
        : filesystemDevice(kernel, table.all(), source.device.nodeDevice, disk.mountedUuid);
  const mounted = targets.filter((target) => isOwnMount(target, mountOf(target), filesystem));
  const isWhole = mounted.includes(whole);
  if (filesystem !== null && !isWhole) note(`the whole volume is not mounted at ${whole.path}`);

  const top = root !== null && isWhole ? openWhole(context, root, whole) : null;
  const view = top ?? (root !== null && isWhole ? openMounted(context, root, mounted) : null);
  const hostSpace = source?.hostSpace() ?? null;
  const ground = { deviceBytes: disk?.sizeBytes ?? null, hostSpace };
  const inside = view === null ? null : lookInside(context, view, ground);
  const live = inside instanceof VolumeError ? null : inside;
  // A read-only view of it somewhere else says nothing of the volume.
  const own = mounted.map(mountOf).filter((mount) => mount !== null);
  const mount = own[0] ?? table.all().find(({ device }) => device === filesystem) ?? null;
  const shown = own.length > 0 || mount === null ? own : [mount];
  const bytes = live?.bytes ?? bytesAtRest(disk);
  const superReadOnly = mount?.superOptions.includes("ro") ?? null;
  const subvolumes = lookAtSubvolumes(
    context,
    { top, root, rawPath: whole.path },
    targets.slice(1),
    mounted,
  );
  const seen: Omit<Status, "healthy" | "problems" | "notes"> = {
    state: stateOf(mounted.length, targets.length, source !== null || filesystem !== null),
    device: source?.path ?? mount?.source ?? context.recorder.device,
    verdict: disk?.verdict ?? (filesystem === null ? null : "mounted"),
    uuid: disk?.uuid ?? uuidOfView(kernel, view),
    label: disk?.superblock?.label ?? null,
    bytes: superReadOnly === true ? { ...bytes, writable: 0 } : bytes,
    profiles: live?.profiles ?? [],
    options: mount === null ? null : filesystemOptions(mount),
    readOnly: mount === null ? null : shown.some(isReadOnly),
    forcedReadOnly: mount === null ? null : isForcedReadOnly(mount),
    subvolumes: subvolumes.reports,
    superblocks: disk?.copies ?? [],
    errors: live?.errors ?? null,
  };
  const uuid = disk?.mountedUuid ?? null;
  const living =
    source === null || uuid === null
      ? null
      : { uuid, filesystem, nodeDevice: source.device.nodeDevice, inside: placesOf(site) };
  const health = healthOf({
    status: seen,
    refusal: absence ?? disk?.refusal ?? null,
    stranger: inside instanceof VolumeError ? inside : strangerOf(disk),
    twin: disk?.twin ?? null,
    keptBy: living !== null && mounted.length === 0 ? keepersOf(kernel, living).text : null,
    deletion: source?.deletion() ?? null,
    hostSpace,
    readOnlySubvolumes: subvolumes.readOnly,
    wronglyNocow: subvolumes.wronglyNocow,
    full: subvolumes.full,
    compressed: subvolumes.compressed,
    databaseFiles: context.layout.entries.flatMap(({ subvolume, noCopyOnWriteFiles }) =>
      noCopyOnWriteFiles.map((file) => `${subvolume}/${file}`),
    ),
    isPartlyHidden: isHidden || subvolumes.isHidden,
    smallerDisk: live === null || mount === null ? null : smallerDisk(live.capacity, mount.path),
    mountPath: mount?.path ?? null,
    wholePath: whole.path,
    readOnlyMounts: shown.filter(isReadOnly),
    deviations: deviationsOf(context.layout, own, mounted),
  });
  return { ...seen, ...health, notes: context.recorder.notes };
}

/** The refusal of a filesystem that is mounted, but not as a data volume can be. */
const strangerOf = (disk: DiskFacts | null): VolumeError | null =>
  disk?.mountedUuid != null && disk.refusal?.code === "multi-device" ? disk.refusal : null;

/** Without the disk only the mounted filesystem can be asked. */
const uuidOfView = (kernel: Kernel, view: number | null): string | null =>
  view === null ? null : filesystemInfo(kernel, view).fsid;

/** null, where only root may open it. */
function openWhole(context: Context, root: Root, whole: Target): number | null {
  try {
    return openTop(context, root, whole);
  } catch (error) {
    if (isErrno(error, Errno.EACCES)) return null;
    throw error;
  }
}

/** Any directory of the filesystem that may be opened: what the kernel says of the whole, it says there too. */
function openMounted(context: Context, root: Root, mounted: readonly Target[]): number | null {
  for (const target of mounted) {
    const fd = openWhole(context, root, target);
    if (fd !== null) return fd;
  }
  return null;
}

const stateOf = (mounted: number, wanted: number, isPresent: boolean): VolumeState => {
  if (mounted === wanted) return "up";
  if (mounted > 0) return "partial";
  return isPresent ? "down" : "absent";
};

/** Without what each mount has for itself. */
const filesystemOptions = ({ superOptions }: Mount): string =>
  superOptions.filter((option) => !option.startsWith("subvol")).join(",");

interface DiskFacts {
  readonly verdict: Verdict["kind"];
  /** Under which the kernel has it mounted. */
  readonly mountedUuid: string | null;
  /** That stands on the disk. */
  readonly uuid: string | null;
  /** What of the disk can keep what is written to it. */
  readonly sizeBytes: number;
  readonly superblock: Superblock | null;
  readonly copies: readonly CopyReport[];
  /** Another device that shows the same bytes, and is mounted. */
  readonly twin: string | null;
  /** Why `up` would refuse what is on it. */
  readonly refusal: VolumeError | null;
}

function lookAtDisk(context: Context, source: Source): DiskFacts {
  const { kernel, note } = context;
  const holder = source.lockHolder();
  if (holder !== null)
    note(`${holder} is working on the disk right now: look again when it is done`);
  const mountedUuid = source.mountedUuid();
  const twin = mountedUuid === null ? source.mountedTwin() : null;
  if (twin !== null) note(`${twin} is the same disk, and is mounted: look at that one`);
  const verdict = judge(source.disk, mountedUuid);
  const { copies, newest } = lookAtCopies(source.disk);
  // On a disk that is not a Btrfs, what stands in the places of superblocks is none.
  const isBtrfs = newest !== null && verdict.kind !== "foreign";
  const superblock = isBtrfs ? newest : null;
  return {
    verdict: verdict.kind,
    mountedUuid,
    uuid:
      mountedUuid === null
        ? (superblock?.fsid ?? null)
        : uuidOnDisk(kernel, source.disk, mountedUuid, note),
    sizeBytes: source.isAttached ? source.backedBytes : source.disk.sizeBytes,
    superblock,
    copies: isBtrfs || verdict.kind === "hopeless" ? copies : [],
    twin,
    refusal: refusalOf(context, source, verdict),
  };
}

/** What the decision of `up` says of this verdict; null where it goes on. */
function refusalOf(context: Context, source: Source, verdict: Verdict): VolumeError | null {
  try {
    const { format, repair } = policiesOf(context, verdict);
    if (verdict.kind !== "mounted") source.assertUnlocked();
    decideFilesystem({
      device: source.path,
      sizeBytes: source.disk.sizeBytes,
      readOnly: source.readOnly,
      isFile: source.isImage,
      verdict,
      hasSeveralDevices: "mirror" in verdict && hasSeveralDevices(source.disk, verdict.mirror),
      mkfs: context.layout.mkfs,
      format: source.mayBeFormatted ? format : "never",
      repair,
    });
    if (verdict.kind === "mounted") {
      assertNoMountedSeed(source);
      assertOneDevice(context.kernel, source, verdict.uuid);
    }
    if (verdict.kind === "btrfs") assertMountable(context.kernel, source, verdict.superblock, true);
    return null;
  } catch (error) {
    if (error instanceof VolumeError) return error;
    throw error;
  }
}

function bytesAtRest(disk: DiskFacts | null): Status["bytes"] {
  if (disk === null) return nothing.bytes;
  const { superblock, sizeBytes } = disk;
  if (superblock === null) return { ...nothing.bytes, device: sizeBytes };
  return {
    device: sizeBytes,
    filesystem: countOrNull(superblock.deviceBytes),
    used: countOrNull(superblock.usedBytes),
    writable: null,
    unallocated: countOrNull(superblock.deviceBytes - superblock.deviceUsedBytes),
  };
}
