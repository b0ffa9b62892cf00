import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { agentPath } from "../agent.ts";
import { command, tool } from "../command.ts";
import { unpackedFile } from "../debian.ts";
import { MiB } from "../image.ts";
import { cpio, type Entry } from "./cpio.ts";
import { kernelModules } from "./modules.ts";

/** Disks of every kind, loop devices, Btrfs; NVMe and ext4 are in the kernel itself. */
const MODULES = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "loop", "btrfs"];

/**
 * Process 1 of a guest. On its second serial line it takes one shell script a line, in base64, runs
 * it, and answers with its exit status, output and errors. The first line is the kernel's console.
 */
const INIT = `#!/bin/sh
export PATH=/bin:/usr/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for module in $(cat /modules/order); do insmod /modules/$module || echo "no $module"; done
mount -t ext4 -o ro /dev/vda /usr
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo ready >&3
while read -r job <&3; do
  echo "$job" | base64 -d >/tmp/job
  sh /tmp/job >/tmp/out 2>/tmp/err </dev/null 3<&-
  echo "$? $(base64 -w 0 /tmp/out) $(base64 -w 0 /tmp/err)" >&3
done
`;

/** A guest's first root, in memory and small: unpacking it is emulated byte by byte. */
function bootArchive(): Blob {
  const modules = kernelModules(MODULES);
  const order = Buffer.from(modules.map(({ name }) => name).join("\n"));
  const executable = (bytes: Uint8Array): Entry => ({ kind: "file", mode: 0o755, bytes });
  const link = (target: string): Entry => ({ kind: "link", target });
  const folders = ["bin", "dev", "modules", "proc", "sys", "tmp", "usr"];
  return cpio(
    new Map<string, Entry>([
      ...folders.map((name) => [name, { kind: "directory" }] as const),
      ["init", executable(Buffer.from(INIT))],
      ["bin/busybox", executable(readFileSync(unpackedFile("**/bin/busybox")))],
      ["bin/sh", link("busybox")],
      ["lib", link("usr/lib")],
      ["lib64", link("usr/lib64")],
      ["modules/order", executable(order)],
      ...modules.map(({ name, bytes }) => [`modules/${name}`, executable(bytes)] as const),
    ]),
  );
}

/** The shared libraries that a program loads, its loader too. */
const librariesOf = (program: string): readonly string[] =>
  command("ldd", program).match(/\/\S+(?= \(0x)/g) ?? [];

const PROGRAMS_BYTES = 256 * MiB;

/** An ext4 with the program under test, what it starts, what a test asks, and their libraries: the guest's /usr, its first disk. */
function makeProgramDisk(image: string, folder: string): void {
  const put = (from: string, to: string): void => {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    command("cp", "--dereference", "--reflink=auto", from, join(folder, to));
  };
  for (const program of [agentPath, tool("mkfs.btrfs"), tool("lsattr")]) {
    put(program, join("bin", basename(program)));
    for (const library of librariesOf(program)) put(library, library.replace(/^\/usr/, ""));
  }
  const size = `${PROGRAMS_BYTES / MiB}M`;
  command("mkfs.ext4", "-q", "-O", "^has_journal", "-d", folder, image, size);
}

export interface GuestRoot {
  readonly archive: string;
  readonly programs: string;
}

let built: Promise<GuestRoot> | undefined;

/** What all guests of a process boot from, made once. */
export function guestRoot(): Promise<GuestRoot> {
  built ??= make();
  return built;
}

async function make(): Promise<GuestRoot> {
  const folder = mkdtempSync(join(tmpdir(), "guest-root-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const root = { archive: join(folder, "boot.cpio"), programs: join(folder, "programs.img") };
  await Bun.write(root.archive, bootArchive());
  makeProgramDisk(root.programs, join(folder, "usr"));
  rmSync(join(folder, "usr"), { recursive: true });
  return root;
}
