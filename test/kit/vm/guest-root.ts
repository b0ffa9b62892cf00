import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { command } from "../command.ts";
import { unpackedFile } from "../debian.ts";
import { MiB } from "../image.ts";
import { cpio, type Entry } from "./cpio.ts";
import type { Machine } from "./machine.ts";
import { kernelModules } from "./modules.ts";

/** Disks of every kind, loop devices, Btrfs; NVMe and ext4 are in the kernel itself. */
const MODULES = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "loop", "btrfs"];

/**
 * Process 1 of a guest. On a serial line of its own it takes one shell script a line, in base64, runs
 * it, and answers with its exit status, output and errors.
 */
const init = (jobs: string): string => `#!/bin/sh
export PATH=/bin:/usr/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for module in $(cat /modules/order); do insmod /modules/$module || echo "no $module"; done
mount -t ext4 -o ro /dev/vda /usr
stty -F /dev/${jobs} raw -echo
exec 3<>/dev/${jobs}
echo ready >&3
while read -r job <&3; do
  echo "$job" | base64 -d >/tmp/job
  sh /tmp/job >/tmp/out 2>/tmp/err </dev/null 3<&-
  echo "$? $(base64 -w 0 /tmp/out) $(base64 -w 0 /tmp/err)" >&3
done
`;

/** A guest's first root, in memory and small: unpacking it is emulated byte by byte. */
function bootArchive({ packages, jobs }: Machine): Blob {
  const modules = kernelModules(packages, MODULES);
  const order = Buffer.from(modules.map(({ name }) => name).join("\n"));
  const executable = (bytes: Uint8Array): Entry => ({ kind: "file", mode: 0o755, bytes });
  const link = (target: string): Entry => ({ kind: "link", target });
  const folders = ["bin", "dev", "modules", "proc", "sys", "tmp", "usr"];
  return cpio(
    new Map<string, Entry>([
      ...folders.map((name) => [name, { kind: "directory" }] as const),
      ["init", executable(Buffer.from(init(jobs)))],
      ["bin/busybox", executable(readFileSync(unpackedFile("**/bin/busybox", packages)))],
      ["bin/sh", link("busybox")],
      ["lib", link("usr/lib")],
      ["lib64", link("usr/lib64")],
      ["modules/order", executable(order)],
      ...modules.map(({ name, bytes }) => [`modules/${name}`, executable(bytes)] as const),
    ]),
  );
}

const PROGRAMS_BYTES = 256 * MiB;

/** An ext4 with the machine's programs: the guest's /usr, its first disk. */
function makeProgramDisk(machine: Machine, image: string, folder: string): void {
  for (const [from, to] of machine.programs()) {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    command("cp", "--dereference", "--reflink=auto", from, join(folder, to));
  }
  const size = `${PROGRAMS_BYTES / MiB}M`;
  command("mkfs.ext4", "-q", "-O", "^has_journal", "-d", folder, image, size);
}

export interface GuestRoot {
  readonly archive: string;
  readonly programs: string;
}

const built = new Map<Machine, Promise<GuestRoot>>();

/** What all guests of a process boot from, made once for each kind of machine. */
export function guestRoot(machine: Machine): Promise<GuestRoot> {
  const root = built.get(machine) ?? make(machine);
  built.set(machine, root);
  return root;
}

async function make(machine: Machine): Promise<GuestRoot> {
  const folder = mkdtempSync(join(tmpdir(), "guest-root-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const root = { archive: join(folder, "boot.cpio"), programs: join(folder, "programs.img") };
  await Bun.write(root.archive, bootArchive(machine));
  makeProgramDisk(machine, root.programs, join(folder, "usr"));
  rmSync(join(folder, "usr"), { recursive: true });
  return root;
}
