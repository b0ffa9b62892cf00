import { unpackedFile } from "../debian.ts";
import type { GuestRoot } from "./guest-root.ts";
import type { Machine } from "./machine.ts";

export interface GuestDisk {
  readonly image: string;
  readonly serial?: string;
  /** How the guest is connected to it; virtio-blk unless told. */
  readonly bus?: "virtio" | "scsi" | "nvme";
  /** A file that records every write, flush and discard of the guest, in their order. */
  readonly writeLog?: string;
}

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
  machine: Machine,
  { root, console, monitor }: GuestFiles,
  disks: readonly GuestDisk[],
  commandLine: string,
): readonly string[] {
  return [
    ...["-accel", "tcg", "-m", "1024", ...machine.arguments],
    ...["-nodefaults", "-no-reboot", "-display", "none"],
    ...["-kernel", unpackedFile("boot/vmlinuz-*", machine.packages), "-initrd", root.archive],
    // A panic ends the machine at once.
    ...["-append", `console=${machine.console} quiet panic=-1 ${commandLine}`],
    ...["-serial", `file:${console}`, ...machine.jobsArguments],
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
