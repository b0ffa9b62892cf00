import { Deadline } from "../linux/deadline.ts";
import { statOrNull } from "../linux/files.ts";
import { AT_STATX_DONT_SYNC, type Kernel } from "../linux/kernel.ts";
import { type MountLine, readMounts } from "../linux/mountinfo.ts";
import { lookElsewhere, seenText } from "./elsewhere.ts";
import { holdersText, some } from "./holders.ts";
import { type Inside, overlaysInDoubt, overlaysOn } from "./overlay.ts";
import { lookSlowly } from "./slow-look.ts";

/** A look at other processes takes no longer than this, whatever they have done to be hard to look at. */
export const lookMs = 1500;

/** A filesystem that the kernel has mounted. */
export interface Living {
  readonly uuid: string;
  /** "major:minor" of its superblock; null where this mount namespace has no mount of it. */
  readonly filesystem: string | null;
  /** "major:minor" of its disk. */
  readonly nodeDevice: string;
  /** Where layers of overlays may lie. */
  readonly inside: Inside;
}

/** Whether a line is of the filesystem. Where we have no mount of it, only the path of the disk can tell. */
export function lineOf(
  kernel: Kernel,
  { filesystem, nodeDevice }: Living,
): (line: MountLine) => boolean {
  if (filesystem !== null) return ({ device }) => device === filesystem;
  return (line) =>
    line.type === "btrfs" &&
    statOrNull(kernel, line.mount.source, AT_STATX_DONT_SYNC)?.nodeDevice === nodeDevice;
}

/** What keeps a filesystem mounted that is not, or no longer, where it belongs. */
export interface Keepers {
  readonly kind: "here" | "elsewhere" | "overlay" | "process" | "unseen";
  readonly text: string;
}

const mostMounts = 64;

/** Looks in the order in which it can be told for sure: mounts, then overlays, then processes. */
export function keepersOf(kernel: Kernel, living: Living): Keepers {
  const isOurs = lineOf(kernel, living);
  let count = 0;
  const here = readMounts(kernel, (line) => count < mostMounts && isOurs(line) && ++count > 0);
  if (here.length > 0) {
    const paths = here.map(({ path }) => path);
    return { kind: "here", text: `it is mounted at ${some(paths, ", ")}` };
  }
  const wanted = { isOurs, inside: living.inside, going: [] };
  const { copies, overlays } = lookElsewhere(kernel, wanted, new Deadline(kernel, lookMs));
  if (copies.length > 0) {
    const who = new Set(
      copies.map((seen) => `${seen.who} has it mounted in another mount namespace`),
    );
    return { kind: "elsewhere", text: some([...who], "; ") };
  }
  const layered = [...overlaysOn(kernel, living.inside), ...overlays.map(seenText)];
  if (layered.length > 0) return { kind: "overlay", text: some(layered, "; ") };
  const sought = { kind: "files", uuid: living.uuid } as const;
  const users = lookSlowly(kernel, sought, new Deadline(kernel, lookMs));
  if (users.length > 0) return { kind: "process", text: holdersText(users) };
  const doubtful = overlaysInDoubt(kernel);
  const perhaps = doubtful.length === 0 ? "" : `, perhaps an overlay: ${some(doubtful, ", ")}`;
  return {
    kind: "unseen",
    text: `something that cannot be seen from here keeps it mounted${perhaps}`,
  };
}
