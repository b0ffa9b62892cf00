import { Errno, SystemError } from "./errno.ts";
import { statOrNull } from "./files.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  type FileStatus,
  isSymbolicLink,
  type Kernel,
} from "./kernel.ts";

/** A symbolic link that is not to be followed. */
export interface PlantedLink {
  readonly path: string;
  readonly why: string;
}

/** Where a path leads. */
interface Way {
  /** Without links; where it does not exist to its end, the rest is as it was given. */
  readonly path: string;
  /** The first of the links on the way that is not to be followed; null when all may be. */
  readonly planted: PlantedLink | null;
  /** One of the links leads to nothing. */
  readonly isDangling: boolean;
}

/** path_resolution(7) */
const mostLinks = 40;

const writableByOthers = 0o022;
const sticky = 0o1000;

/** Whether a file belongs to root, or to who runs this. */
export const isOurOwn = (kernel: Kernel, { owner }: Pick<FileStatus, "owner">): boolean =>
  owner === 0 || owner === kernel.geteuid();

/**
 * Whether others may put another thing in the place of what is in a folder, though it is not theirs: in a sticky one
 * they may not.
 */
export const isOpenFolder = ({ mode }: Pick<FileStatus, "mode">): boolean =>
  (mode & writableByOthers) !== 0 && (mode & sticky) === 0;

/** Why a link in a folder ("" is the top) is not to be followed; null where it may be. */
function reasonAgainst(
  kernel: Kernel,
  link: string,
  status: FileStatus,
  target: string,
): string | null {
  const folder = link.slice(0, link.lastIndexOf("/"));
  const holder = kernel.statx(AT_FDCWD, folder === "" ? "/" : folder, 0);
  const stranger = [status, holder].find((one) => !isOurOwn(kernel, one));
  if (stranger !== undefined) return `the user ${stranger.owner} can turn elsewhere`;
  if (isOpenFolder(holder)) return "others can turn elsewhere";
  // A link of a process there leads to what it has open, which may have another name, or none (proc_pid_root(5)).
  if (!link.startsWith("/proc/")) return null;
  const [one, other] = [link, target].map((path) => statOrNull(kernel, path));
  const isSame =
    one?.inode === other?.inode && one?.device === other?.device && one?.mountId === other?.mountId;
  return isSame || !target.startsWith("/") ? null : "no path leads to from here";
}

/**
 * Follows the links of an absolute path by hand, so that each can be looked at. `followsLast`: the last name too. What
 * is opened by the path that this gives must be opened without following links: one may be planted meanwhile.
 */
export function wayOf(kernel: Kernel, path: string, followsLast: boolean): Way {
  const names = path.split("/");
  let at = "";
  let links = 0;
  /** So many of the names are those of a link. */
  let ofLink = 0;
  let planted: PlantedLink | null = null;
  while (names.length > 0) {
    const name = names.shift() ?? "";
    const isOfLink = ofLink > 0;
    ofLink = Math.max(0, ofLink - 1);
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
      continue;
    }
    const next = `${at}/${name}`;
    const status = statOrNull(kernel, next, AT_SYMLINK_NOFOLLOW);
    if (status === null) {
      return { path: [next, ...names].join("/"), planted, isDangling: isOfLink };
    }
    const isLast = names.every((rest) => rest === "");
    if (!isSymbolicLink(status) || (isLast && !followsLast)) {
      at = next;
      continue;
    }
    links += 1;
    if (links > mostLinks) throw new SystemError("open", Errno.ELOOP, path);
    const target = kernel.readlink(next);
    if (planted === null) {
      const why = reasonAgainst(kernel, next, status, target);
      if (why !== null) planted = { path: next, why };
    }
    if (target.startsWith("/")) at = "";
    const more = target.split("/");
    ofLink += more.length;
    names.unshift(...more);
  }
  return { path: at === "" ? "/" : at, planted, isDangling: false };
}
