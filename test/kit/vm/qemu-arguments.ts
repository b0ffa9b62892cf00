import { unpackedFile } from "../debian.ts";
import type { GuestRoot } from "./guest-root.ts";

export interface GuestDisk {
  readonly image: string;
  readonly serial?: string;
  /** How the guest is connected to it; virtio-blk unless told. */
  readonly bus?: "virtio" | "scsi" | "nvme";
  /** A file that records every write, flush and discard of the guest, in their order. */
  readonly writeLog?: string;
}

/**
 * A machine that reaches its init in 2 s without hardware virtualisation. "max" has what Bun needs;
 * without "erms" the kernel copies by 8 bytes at a time, and QEMU emulates each step of a copy.
 */
const MACHINE = ["-accel", "tcg", "-machine", "pc", "-cpu", "max,erms=off,fsrm=off", "-m", "1024"];

const deviceOf = ({ serial, bus = "virtio" }: GuestDisk, node: string): readonly string[] => {
  const name = serial === undefined ? "" : `,serial=${serial}`;
  switch (bus) {
    case "virtio":
      return ["-device", `virtio-blk-pci,id=${node},drive=${node}${name}`];
    case "nvme":
      return ["-device", `nvme,id=${node},drive=${node}${name}`];
    case "scsi":
      return [
        ...["-device", `virtio-scsi-pci,id=${node}-host`],
        ...["-device", `scsi-hd,id=${node},bus=${node}-host.0,drive=${node}${name}`],
      ];
  }
};

/** Node `disk0` is what the guest sees of the first disk; the host's own flushes are left out. */
function blockdevs({ image, writeLog }: GuestDisk, node: string): readonly string[] {
  const file = (filename: string): object => ({
    driver: "file",
    filename,
    cache: { "no-flush": true },
  });
  const raw = { driver: "raw", discard: "unmap", file: file(image) };
  const logged = { driver: "blklogwrites", file: raw, log: file(writeLog ?? "") };
  const top = { ...(writeLog === undefined ? raw : logged), "node-name": node, discard: "unmap" };
  return ["-blockdev", JSON.stringify(top)];
}

export interface GuestFiles {
  readonly root: GuestRoot;
  readonly console: string;
  readonly monitor: string;
}

/** The command line of QEMU. /dev/vda is the guest's own; the first virtio disk of a test is /dev/vdb. */
export function qemuArguments(
  { root, console, monitor }: GuestFiles,
  disks: readonly GuestDisk[],
  commandLine: string,
): readonly string[] {
  return [
    ...MACHINE,
    ...["-nodefaults", "-no-reboot", "-display", "none"],
    ...["-kernel", unpackedFile("boot/vmlinuz-*"), "-initrd", root.archive],
    // A panic ends the machine at once.
    ...["-append", `console=ttyS0 quiet panic=-1 ${commandLine}`],
    ...["-serial", `file:${console}`, "-serial", "stdio"],
    ...["-qmp", `unix:${monitor},server=on,wait=off`],
    ...[
      "-blockdev",
      `driver=raw,node-name=programs,read-only=on,file.driver=file,file.filename=${root.programs}`,
    ],
    ...["-device", "virtio-blk-pci,drive=programs"],
    ...disks.flatMap((disk, index) => [
      ...blockdevs(disk, `disk${index}`),
      ...deviceOf(disk, `disk${index}`),
    ]),
  ];
}
