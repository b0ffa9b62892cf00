// What a test run must give back: mounts and loop devices.
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Mount points of this mount namespace by mount id, in the order of mounting. */
export function mounts(): Map<string, string> {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  return new Map(
    lines.map((line) => {
      const [id = "", , , , path = ""] = line.split(" ");
      return [id, path];
    }),
  );
}

/** Loop devices attached to files below `folder`, removed files included. */
export function loopsBelow(folder: string): string[] {
  if (!existsSync("/sys/block")) return [];
  return readdirSync("/sys/block")
    .filter((name) => {
      const file = `/sys/block/${name}/loop/backing_file`;
      return existsSync(file) && readFileSync(file, "utf8").startsWith(`${folder}/`);
    })
    .map((name) => `/dev/${name}`);
}

/** Names what is left over, and frees it so that the next run starts clean. */
export function freeLeaks(folder: string, before: ReadonlyMap<string, string>): string[] {
  const left = [...mounts()].filter(([id]) => !before.has(id)).map(([, path]) => path);
  for (const path of left.toReversed()) Bun.spawnSync(["umount", "--lazy", path]);
  const loops = loopsBelow(folder);
  for (const device of loops) Bun.spawnSync(["losetup", "--detach", device]);
  return [
    ...left.map((path) => `still mounted after the tests: ${path}`),
    ...loops.map((device) => `still attached after the tests: ${device}`),
  ];
}
