import { mkdirSync } from "node:fs";
import { command, tool, tryCommand } from "./command.ts";
import type { Sandbox } from "./sandbox.ts";

/**
 * An automount at `place` whose daemon never answers: whoever walks into it waits until it is unmounted.
 * Not so the processes of the daemon's own group, which is why it has one. `then` is what the daemon does
 * there first, as words of a shell to which the place is $2.
 */
export async function deadAutomount(box: Sandbox, place: string, then = ":"): Promise<void> {
  mkdirSync(place, { recursive: true });
  const fifo = box.path(`requests ${place.replaceAll("/", " ")}`);
  command("mkfifo", fifo);
  const options = "fd=9,pgrp=$$,minproto=5,maxproto=5,direct";
  const script = `exec 9<>"$1"; mount -t autofs -o "${options}" dead "$2" && ${then}; echo ready; exec sleep 1000`;
  await box.spawnUntilReady([tool("setsid"), "bash", "-c", script, "bash", fifo, place]);
  box.onEnd(() => tryCommand("umount", "--lazy", place));
}
