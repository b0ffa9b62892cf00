import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fingerprint } from "./image.ts";
import { attachedLoops } from "./loops.ts";
import { mounts } from "./mountinfo.ts";
import type { Sandbox } from "./sandbox.ts";

/** Everything a command that changes nothing must leave as it was. */
export interface World {
  readonly images: Readonly<Record<string, string>>;
  readonly tree: readonly string[];
  readonly mounts: readonly string[];
  readonly loops: readonly string[];
}

/** Looks at the whole sandbox: image contents, every name with its times, mounts, loop devices. */
export function observe(box: Sandbox): World {
  const images: Record<string, string> = {};
  for (const name of readdirSync(box.dir)) {
    if (name.endsWith(".img")) images[name] = fingerprint(box.path(name));
  }
  return {
    images,
    tree: [...tree(box.dir)],
    mounts: mounts().map((mount) => JSON.stringify(mount)),
    loops: [...attachedLoops(box.dir)].map(([device, file]) => `${device} ${file}`),
  };
}

function* tree(folder: string): Generator<string> {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const { mode, size, mtimeNs, ctimeNs, uid } = lstatSync(path, { bigint: true });
    // A loop device that is attached and detached again does not touch these either.
    yield `${path} ${mode.toString(8)} ${uid} ${size} ${mtimeNs} ${ctimeNs}`;
    if (lstatSync(path).isDirectory()) yield* tree(path);
  }
}
