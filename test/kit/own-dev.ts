import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { command } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

const devices = /^(null|zero|full|random|urandom|btrfs-control|loop-control|loop\d+|tty)$/;

/** A second node for the same disk. */
export function makeNode(path: string, device: string): void {
  const { rdev } = statSync(device);
  // linux/kdev_t.h, new_encode_dev()
  const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)];
  command("mknod", path, "b", String(major), String(minor));
}

/**
 * A /dev of the test's own, until it ends: what the kernel's has of loop devices, and more names for some of them,
 * such as "vdb". Gives the folder, in which more can be made.
 */
export function ownDev(box: Sandbox, names: Readonly<Record<string, string>>): string {
  const dev = box.mount("tmpfs", "own-dev", "-t", "tmpfs");
  for (const name of readdirSync("/dev").filter((entry) => devices.test(entry))) {
    command("cp", "--archive", `/dev/${name}`, dev);
  }
  for (const [name, device] of Object.entries(names)) makeNode(join(dev, name), device);
  box.cover(dev, "/dev");
  return "/dev";
}
