import { directory, type Entry } from "./tree.ts";
import type { World } from "./world.ts";

const file = (text: string): Entry => ({ kind: "file", mode: 0o444, text });

/** /proc as far as the program reads it. */
export function procEntry(world: World, path: string): Entry | undefined {
  switch (path) {
    case "":
    case "/self":
    case "/self/fd":
      return directory(1);
    case "/cmdline":
      return file(`${world.cmdline}\n`);
    case "/partitions":
      return file(partitionsText(world));
    case "/locks":
      return file(locksText(world));
    case "/self/mountinfo":
      return file(mountinfoText(world));
    default:
      return undefined;
  }
}

/** proc_partitions(5) */
function partitionsText(world: World): string {
  const names = [...world.disks.keys(), ...world.loops.keys()];
  return `major minor  #blocks  name\n\n${names.map((name) => `   7        0        512 ${name}\n`).join("")}`;
}

/** A process that a test lets hold a lock. */
const strangerPid = 4711;

/** proc_locks(5) */
const locksText = (world: World): string =>
  [...world.locks.keys()]
    .map((key, i) => `${i + 1}: FLOCK  ADVISORY  WRITE ${strangerPid} ${key} 0 EOF\n`)
    .join("");

const escaped = (text: string): string => text.replaceAll("\\", "\\134").replaceAll(" ", "\\040");

/** proc_pid_mountinfo(5) */
function mountinfoText(world: World): string {
  return world.mounts
    .map((mount) => {
      const { id, parentId, point, filesystem, root, source, options } = mount;
      const btrfs = world.filesystems.get(filesystem);
      const device = btrfs?.device ?? deviceOf(filesystem);
      const type = btrfs === undefined ? filesystem.replace(/:.*/, "") : "btrfs";
      const mode = btrfs?.readOnly === true ? "ro" : "rw";
      const superOptions =
        btrfs === undefined
          ? mode
          : `${mode},compress=zstd:1,discard=async,space_cache=v2,subvol=${root === "" ? "/" : root}`;
      const fields = [id, parentId, device, root === "" ? "/" : root, escaped(point), options];
      return `${fields.join(" ")} shared:${id} - ${type} ${escaped(source)} ${superOptions}\n`;
    })
    .join("");
}

/** The "major:minor" of a filesystem that is no Btrfs. */
export function deviceOf(filesystem: string): string {
  if (filesystem === "root") return "254:1";
  if (filesystem === "proc") return "0:20";
  if (filesystem === "sys") return "0:21";
  return `0:${50 + Number(filesystem.replace("tmpfs:", ""))}`;
}
