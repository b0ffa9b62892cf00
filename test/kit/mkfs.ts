import { chmodSync, copyFileSync, existsSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { command, tool } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

/** Every place where the agent could find mkfs.btrfs. */
function places(): string[] {
  const folders = (process.env.PATH ?? "").split(":");
  folders.push("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin");
  const found = folders.filter(Boolean).map((folder) => join(folder, "mkfs.btrfs"));
  return [...new Set(found.filter(existsSync).map((path) => realpathSync(path)))];
}

/**
 * Puts a shell script in the place of mkfs.btrfs, until the sandbox ends or `restore` is called.
 * In the script `$REAL` is the real one.
 */
export function replaceMkfs(box: Sandbox, script: string): { readonly restore: () => void } {
  const real = box.path("real-mkfs.btrfs");
  if (!existsSync(real)) copyFileSync(tool("mkfs.btrfs"), real);
  chmodSync(real, 0o755);
  const fake = box.path("fake-mkfs.btrfs");
  writeFileSync(fake, `#!/bin/sh\nREAL='${real}'\n${script}\n`);
  chmodSync(fake, 0o755);
  const covered = places();
  for (const place of covered) box.cover(fake, place);
  return {
    restore: () => {
      // Lazily: a script that still runs keeps its file.
      for (const place of covered) command("umount", "--lazy", place);
    },
  };
}

/** Arguments for `unshare` that run a command where no mkfs.btrfs exists. */
export function withoutMkfs(box: Sandbox): readonly string[] {
  const empty = box.folder("empty");
  const hide = [...new Set(places().map(dirname))]
    .map((folder) => `mount --bind '${empty}' '${folder}'`)
    .join(" && ");
  return [
    tool("unshare"),
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    `${hide} && exec "$@"`,
    "sh",
  ];
}
