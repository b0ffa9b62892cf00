import { mountIdOf, noAtime } from "../linux/files.ts";
import {
  type Kernel,
  O_DIRECTORY,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
} from "../linux/kernel.ts";
import { isReadOnly, type Mount, type MountTable, readMounts } from "../linux/mountinfo.ts";
import type { Context } from "./context.ts";
import { VolumeError } from "./error.ts";
import { some } from "./holders.ts";
import { keepersOf } from "./keepers.ts";
import type { Layout } from "./layout.ts";
import { deviationsOf } from "./options-in-force.ts";
import { filesystemDevice } from "./ours.ts";
import { isHolderOpen } from "./raw-place.ts";
import type { MountReport, StepResult } from "./report.ts";
import { shellWord } from "./shell-word.ts";
import { openSite, placesOf } from "./site.ts";
import type { Source } from "./source.ts";
import { receivedNote } from "./subvolumes.ts";
import {
  decideTarget,
  lookAtTarget,
  missingRoot,
  type Root,
  type Target,
  type TargetState,
} from "./targets.ts";
import type { Verdict } from "./verdict.ts";

/** Where the volume belongs, and where it is already. */
export interface Places {
  /** null while the directory given with --root does not exist. */
  readonly root: Root | null;
  /** Where the whole filesystem belongs. */
  readonly whole: Target;
  readonly subvolumes: readonly Target[];
  /** Those of them that must still be mounted. */
  readonly missing: ReadonlySet<Target>;
  /** Others than root may look into the directory that holds the mount of the whole filesystem. */
  readonly isOpenToAll: boolean;
  /** Mounts of the filesystem in this mount namespace, all of them or so many as matter. */
  readonly mounts: readonly Mount[];
  /** What keeps the filesystem mounted where this mount namespace has no mount of it; null where it has. */
  readonly keptBy: string | null;
}

/** Looks at every mount point. Throws `target-occupied` when one cannot be used. */
export function lookAtPlaces(context: Context, source: Source, verdict: Verdict): Places {
  const { kernel, options, layout } = context;
  const site = openSite(context);
  const { root, rootPath, targets, table } = site;
  const filesystem =
    verdict.kind === "mounted"
      ? filesystemDevice(kernel, table.all(), source.device.nodeDevice, verdict.uuid)
      : null;
  const stateOf = lookerAt(kernel, root, rootPath, table);
  const missing = targets.filter(
    (target) =>
      decideTarget(target, stateOf(target), filesystem, options.cover ?? false) === "mount",
  );
  const [whole, ...subvolumes] = targets;
  const mounts = table.all().filter(({ device }) => device === filesystem);
  assertNotReadOnly(mounts);
  if (missing.length === targets.length) assertNoOtherRoot(source.path, layout, mounts);
  const { nodeDevice } = source.isAttached ? source.device : { nodeDevice: "" };
  const keptBy =
    verdict.kind === "mounted" && mounts.length === 0
      ? keepersOf(kernel, { uuid: verdict.uuid, filesystem, nodeDevice, inside: placesOf(site) })
          .text
      : null;
  const isOpenToAll = root !== null && isHolderOpen(kernel, root.fd, layout);
  return { root, whole, subvolumes, missing: new Set(missing), isOpenToAll, mounts, keptBy };
}

function lookerAt(
  kernel: Kernel,
  root: Root | null,
  rootPath: string,
  table: MountTable,
): (target: Target) => TargetState {
  if (root !== null) return (target) => lookAtTarget(kernel, root.fd, target, table);
  const state = missingRoot(kernel, rootPath, table);
  return () => state;
}

/** Opens the top of the mounted filesystem at its place. */
export function openTop({ kernel, descriptors }: Context, root: Root, whole: Target): number {
  const flags = O_RDONLY | O_DIRECTORY | noAtime(kernel);
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const fd = kernel.openBeneath(root.fd, whole.relativePath, flags, resolve);
  descriptors.push(fd);
  return fd;
}

/**
 * Throws `read-only` unless the mounted filesystem can be written to. After an error the kernel
 * makes a filesystem read-only without a word: only the filesystem's options in the mount table say so.
 */
export function assertWritable(kernel: Kernel, top: number, mounts: readonly Mount[]): void {
  const mount = mountOf(kernel, top);
  if (mount === undefined) {
    throw new VolumeError("mount-failed", "the volume was unmounted meanwhile");
  }
  if (isReadOnly(mount)) throw readOnly(mount, mounts);
}

/** Says which options are in force when somebody else's mount came first. */
export function noteElsewhere(
  kernel: Kernel,
  top: number | null,
  { whole, missing, mounts, keptBy }: Places,
  note: Context["note"],
): void {
  if (!missing.has(whole)) return;
  const [first] = mounts;
  const where = keptBy === null ? ` at ${pathsOf(mounts)}` : `, because ${keptBy}`;
  const inForce = top === null ? first : mountOf(kernel, top);
  const options = inForce?.superOptions.filter((option) => !option.startsWith("subvol")).join(",");
  const shown = options === undefined ? "" : `, ${options}`;
  note(`already mounted${where}: the filesystem-wide options are those of then${shown}`);
}

/** Says what to do about subvolumes that came with `btrfs receive`. */
export function noteReceived(
  names: readonly string[],
  { whole, subvolumes }: Pick<Places, "whole" | "subvolumes">,
  note: Context["note"],
): void {
  for (const { subvolume, path } of subvolumes) {
    if (!names.includes(subvolume)) continue;
    note(receivedNote(subvolume, { rawPath: whole.path, mountPath: path }));
  }
}

/** Says what of the mounts that were there already is not as ours would have been. */
export function noteDeviations(
  layout: Layout,
  { whole, subvolumes, missing, mounts }: Places,
  note: Context["note"],
): void {
  const own = [whole, ...subvolumes].filter((target) => !missing.has(target));
  for (const { message, hint } of deviationsOf(layout, mounts, own)) note(`${message}; ${hint}`);
}

/**
 * A volume has one place: of two sets of mounts, none could be taken down, for the other would stay. Who has mounted it
 * once somewhere else for himself is not meant, but the place where `up` puts the whole filesystem.
 */
function assertNoOtherRoot(device: string, { rawPath }: Layout, mounts: readonly Mount[]): void {
  const other = mounts.find(({ root, path }) => root === "/" && path.endsWith(rawPath));
  if (other === undefined) return;
  const otherRoot = other.path.slice(0, -rawPath.length);
  const option = otherRoot === "" ? "" : ` --root ${shellWord(otherRoot)}`;
  const where = otherRoot === "" ? "at the root of this machine" : `below ${otherRoot}`;
  throw new VolumeError("busy", `${device} is up already ${where}, and a volume has one place`, {
    hint: `use it there, or take it down first: volume down${option}`,
  });
}

/** A filesystem that is mounted read-only somewhere is not made writable behind the back of who did that. */
function assertNotReadOnly(mounts: readonly Mount[]): void {
  const [mount] = mounts.filter(({ superOptions }) => superOptions.includes("ro"));
  if (mount !== undefined) throw readOnly(mount, mounts);
}

function readOnly(mount: Mount, mounts: readonly Mount[]): VolumeError {
  const others = pathsOf(mounts);
  return new VolumeError("read-only", `the filesystem on ${mount.source} is mounted read-only`, {
    hint:
      "see the kernel's log (dmesg): after an error it allows no more writes. Unmount it, then run this again" +
      (others === "" ? "" : `: ${others}`),
  });
}

const mountOf = (kernel: Kernel, top: number): Mount | undefined => {
  const mountId = mountIdOf(kernel, top);
  return readMounts(kernel, ({ id }) => id === mountId)[0];
};

const pathsOf = (mounts: readonly Mount[]): string =>
  some(
    mounts.map(({ path }) => path),
    ", ",
  );

/** The step `mount` as the report words it, the same in a plan and afterwards. */
export function mountResult({ whole, missing, isOpenToAll }: Places): StepResult {
  const detail = `mounted at ${whole.path}`;
  if (isOpenToAll) return { outcome: "changed", detail: `${detail}, for root alone now` };
  return { outcome: missing.has(whole) ? "changed" : "kept", detail };
}

/** The step `mountpoints`, likewise. */
export function mountpointsResult({ subvolumes, missing }: Places): StepResult {
  const due = subvolumes.filter((target) => missing.has(target)).length;
  return due === 0
    ? { outcome: "kept", detail: `${subvolumes.length} mounted` }
    : { outcome: "changed", detail: `${due} of ${subvolumes.length} mounted` };
}

export const mountReports = ({ subvolumes }: Pick<Places, "subvolumes">): readonly MountReport[] =>
  subvolumes.map(({ subvolume, path }) => ({ subvolume, path }));
