// What a test run must give back: mounts and loop devices.
import { attachedLoops } from "../../test/kit/loops.ts";
import { type Mount, mounts } from "../../test/kit/mountinfo.ts";

/**
 * Names what is left of a run whose files were all below `folder`, and frees it so that the next
 * one starts clean. `before` is the mount table of that time; new mounts follow the old ones.
 */
export function freeLeaks(folder: string, before: readonly Mount[]): string[] {
  const loops = [...attachedLoops(folder).keys()];
  const left = mounts().slice(before.length);
  // Loops first: a loop of a file that lies on another loop loses its path with the mount, and
  // one in use is let go by the kernel as soon as it no longer is.
  for (const device of loops) Bun.spawnSync(["losetup", "--detach", device]);
  for (const { path } of left.toReversed()) Bun.spawnSync(["umount", "--lazy", path]);
  return [
    ...left.map(({ path }) => `still mounted after the tests: ${path}`),
    ...loops.map((device) => `still attached after the tests: ${device}`),
  ];
}
