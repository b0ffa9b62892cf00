import { existsSync } from "node:fs";
import { built, ours, peer } from "./build.ts";

export type ProgramName = "limit" | "ours" | "other" | "rust" | "script" | "systemd";

/** Something that brings a data volume up. */
export interface Program {
  readonly name: ProgramName;
  readonly title: string;
  readonly up: (device: string, root: string) => readonly string[];
}

const agent = (path: string) => (device: string, root: string) => [
  path,
  "volume",
  "up",
  "--device",
  device,
  "--root",
  root,
];

const systemdPrograms = [
  "/lib/systemd/systemd-makefs",
  "/lib/systemd/systemd-growfs",
  "/usr/bin/systemd-tmpfiles",
];

/** All that this machine has. systemd is not installed for it: that would change the machine. */
export function availablePrograms(compare: string | undefined): readonly Program[] {
  const programs: Program[] = [
    { name: "limit", title: "system calls in C", up: (...words) => [built("limit"), ...words] },
    { name: "ours", title: "arcbox-agent", up: agent(ours) },
    {
      name: "rust",
      title: "Rust agent's steps",
      up: (...words) => [built("rust-procedure"), ...words],
    },
    {
      name: "script",
      title: "boot script",
      up: (...words) => ["/bin/sh", peer("boot-script.sh"), ...words],
    },
  ];
  if (compare !== undefined) programs.push({ name: "other", title: compare, up: agent(compare) });
  if (systemdPrograms.every((path) => existsSync(path))) {
    const up = (...words: readonly string[]) => ["/bin/sh", peer("systemd.sh"), ...words];
    programs.push({ name: "systemd", title: "systemd's programs", up });
  }
  return programs;
}
