import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { agentPath } from "../agent.ts";
import { command, tool } from "../command.ts";
import { debianArm64Folder, debianFolder, unpackedFile } from "../debian.ts";

/** A kind of virtual machine. */
export interface Machine {
  readonly qemu: string;
  readonly arguments: readonly string[];
  /** The folder of the Debian packages that it runs: a kernel and busybox. */
  readonly packages: string;
  /** The device of the kernel's console, which is QEMU's first serial line. */
  readonly console: string;
  /** The device on which the guest takes its jobs, and what connects it to QEMU's input and output. */
  readonly jobs: string;
  readonly jobsArguments: readonly string[];
  /** The program under test, what it starts, what a test asks, and their libraries, each with its place in /usr. */
  readonly programs: () => readonly (readonly [file: string, place: string])[];
}

/** The shared libraries that a program loads, its loader too. */
const librariesOf = (program: string): readonly string[] =>
  command("ldd", program).match(/\/\S+(?= \(0x)/g) ?? [];

/**
 * The oldest processor of x86-64 that QEMU knows: what ran here runs on all of them. A machine reaches its init in
 * 2 s without hardware virtualisation.
 */
export const x64Machine: Machine = {
  qemu: "qemu-system-x86_64",
  arguments: ["-machine", "pc", "-cpu", "kvm64"],
  packages: debianFolder,
  console: "ttyS0",
  jobs: "ttyS1",
  jobsArguments: ["-serial", "stdio"],
  programs: () => {
    const others = [tool("mkfs.btrfs"), tool("lsattr")];
    const libraries = others.flatMap(librariesOf);
    return [
      ...[agentPath, ...others].map((file) => [file, join("bin", basename(file))] as const),
      ...libraries.map((file) => [file, file.replace(/^\/usr/, "")] as const),
    ];
  },
};

/** The first processor of arm64, and the executable that was built for it elsewhere. */
export const arm64Machine: Machine = {
  qemu: "qemu-system-aarch64",
  arguments: ["-machine", "virt", "-cpu", "cortex-a53"],
  packages: debianArm64Folder,
  console: "ttyAMA0",
  jobs: "ttyS0",
  jobsArguments: ["-chardev", "stdio,id=jobs", "-device", "pci-serial,chardev=jobs"],
  programs: () => {
    const agent = join(import.meta.dir, "../../../dist/executable/linux-arm64/arcbox-agent");
    // The loader's own path, and all libraries that were unpacked: nothing here can ask an arm64 program for its own.
    const libraries = join(debianArm64Folder, "usr/lib/aarch64-linux-gnu");
    return [
      [agent, "bin/arcbox-agent"],
      [unpackedFile("**/sbin/mkfs.btrfs", debianArm64Folder), "bin/mkfs.btrfs"],
      [join(libraries, "ld-linux-aarch64.so.1"), "lib/ld-linux-aarch64.so.1"],
      ...readdirSync(libraries)
        .filter((name) => name.includes(".so."))
        .map((name) => [join(libraries, name), join("lib/aarch64-linux-gnu", name)] as const),
    ];
  },
};
