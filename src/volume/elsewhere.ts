import type { Deadline } from "../linux/deadline.ts";
import { Errno, isErrno } from "../linux/errno.ts";
import type { Kernel } from "../linux/kernel.ts";
import { type Mount, type MountLine, mountLines } from "../linux/mountinfo.ts";
import { processIds, processText, threadFolders } from "../linux/processes.ts";
import { type Inside, layerInside } from "./overlay.ts";
import { goesWith, type Hung } from "./propagation.ts";

/** A mount in another mount namespace, and a process that lives there. */
export interface Seen {
  readonly mount: Mount;
  /** "process 4711 (dockerd)" */
  readonly who: string;
  /** When it is an overlay: the layer that lies in our mounts. */
  readonly layer: string | null;
}

export function seenText({ mount, who, layer }: Seen): string {
  const { root, path } = mount;
  if (layer !== null) return `${who} has an overlay at ${path} with a layer in it (${layer})`;
  return root === "/"
    ? `${who} has it mounted at ${path} in another mount namespace`
    : `${who} has ${root} of it mounted at ${path} in another mount namespace`;
}

/** What other mount namespaces have of the filesystem. */
export interface Elsewhere {
  /** At the place of one of our mounts, as a new namespace copies them, and it stays when ours go. */
  readonly copies: readonly Seen[];
  /** Anything else of it: a directory that a container was given. */
  readonly parts: readonly Seen[];
  /** Overlays of which a layer lies in our mounts. */
  readonly overlays: readonly Seen[];
}

/** So many mounts of one namespace are kept, because more of them would tell a person nothing new. */
const mostMounts = 64;

/** The mount namespace of a thread, "mnt:[4026531841]"; null when it cannot be asked. */
function namespaceOf(kernel: Kernel, folder: string): string | null {
  try {
    return kernel.readlink(`${folder}/ns/mnt`);
  } catch (error) {
    const { ENOENT, EACCES, EPERM, ESRCH, EINVAL } = Errno;
    if (isErrno(error, ENOENT, EACCES, EPERM, ESRCH, EINVAL)) return null;
    throw error;
  }
}

/** Lines of the table of a thread, as far as the time allows; null when it has ended, or may not be looked at. */
function linesOf(
  kernel: Kernel,
  folder: string,
  until: Deadline,
  isWanted: (line: MountLine) => boolean,
): readonly Mount[] | null {
  const mounts: Mount[] = [];
  try {
    for (const line of mountLines(kernel, folder)) {
      if (until.isOver || mounts.length === mostMounts) break;
      if (isWanted(line)) mounts.push(line.mount);
    }
    return mounts;
  } catch (error) {
    if (isErrno(error, Errno.ENOENT, Errno.EINVAL, Errno.EACCES, Errno.ESRCH)) return null;
    throw error;
  }
}

export interface Wanted {
  /** A line of the filesystem. */
  readonly isOurs: (line: MountLine) => boolean;
  /** Where layers of overlays may lie. */
  readonly inside: Inside;
  /** Those that are about to go. */
  readonly going: readonly Hung[];
}

/** Looks into every other mount namespace in which a process or a thread lives. */
export function lookElsewhere(
  kernel: Kernel,
  { isOurs, inside, going }: Wanted,
  until: Deadline,
): Elsewhere {
  const found = { copies: [] as Seen[], parts: [] as Seen[], overlays: [] as Seen[] };
  const seen = new Set([namespaceOf(kernel, "/proc/self")]);
  for (const pid of processIds(kernel)) {
    for (const folder of threadFolders(kernel, pid)) {
      if (until.isOver) return found;
      const namespace = namespaceOf(kernel, folder);
      if (namespace === null || seen.has(namespace)) continue;
      const mounts = linesOf(kernel, folder, until, (line) =>
        line.type === "overlay" ? layerInside(kernel, line.mount, inside) !== null : isOurs(line),
      );
      if (mounts === null) continue;
      seen.add(namespace);
      if (mounts.length === 0) continue;
      const parentIds = new Set(mounts.map(({ parentId }) => parentId));
      const parents = linesOf(kernel, folder, until, ({ id }) => parentIds.has(id)) ?? [];
      for (const mount of mounts) {
        const parent = parents.find(({ id }) => id === mount.parentId);
        const kind = kindOf({ mount, parent }, going);
        if (kind === null) continue;
        const layer = kind === "overlays" ? layerInside(kernel, mount, inside) : null;
        found[kind].push({ mount, who: processText(kernel, pid), layer });
      }
    }
  }
  return found;
}

/** Also null for a mount that goes away together with ours. */
function kindOf(hung: Hung, going: readonly Hung[]): keyof Elsewhere | null {
  const { type, root, path } = hung.mount;
  if (type === "overlay") return "overlays";
  if (going.some((one) => goesWith(hung, one))) return null;
  const isCopy = going.some(({ mount }) => mount.root === root && mount.path === path);
  // Where none of ours is left, nothing tells a copy from the mount that was copied.
  return isCopy || going.length === 0 ? "copies" : "parts";
}
