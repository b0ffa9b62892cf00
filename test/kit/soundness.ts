import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "./agent.ts";
import { command } from "./command.ts";
import { attachedLoops } from "./loops.ts";
import type { Report } from "./report.ts";
import type { Stage } from "./stages.ts";
import {
  dockerOf,
  expectMounted,
  filesystemBytes,
  filesystemGone,
  markerIsThere,
  nocowPlaces,
  rawOf,
} from "./volume.ts";

/** The databases of the layout that are not flagged, all asked at once. */
function notFlagged(root: string): string[] {
  const folders = nocowPlaces(root);
  const there = folders.filter((folder) => existsSync(folder));
  const flagged = new Set(
    command("lsattr", "-d", ...there)
      .split("\n")
      .map((line) => /^(\S+) (.*)$/.exec(line))
      .filter((match) => match?.[1]?.includes("C"))
      .map((match) => match?.[2]),
  );
  return folders.filter((folder) => !flagged.has(folder));
}

/** All of it is there: six mounts, all databases NOCOW, the whole disk, and what was on it. */
function expectWhole(stage: Stage, report: Report): void {
  const { root } = stage.box;
  expectMounted(root);
  expect(notFlagged(root)).toBeEmpty();
  expect(filesystemBytes(rawOf(stage.box))).toBe(stage.bytes);
  if (stage.uuid === null) return;
  expect(report.uuid).toBe(stage.uuid);
  expect(markerIsThere(stage.box)).toBeTrue();
}

/** After a success: what is not as it should be is named in a note. */
export function expectUp(stage: Stage, report: Report): void {
  const notes = report.notes.join("\n");
  expectMounted(stage.box.root);
  for (const folder of notFlagged(stage.box.root)) {
    expect(notes).toContain(folder.replace(/^.*\/(containerd|docker|k3s)\//, ""));
  }
  if (filesystemBytes(rawOf(stage.box)) !== stage.bytes) expect(notes).toContain("could not grow");
  if (stage.uuid !== null) expect(markerIsThere(stage.box)).toBeTrue();
}

/** A daemon that finds its directory mounted writes into it at once; that too must be kept. */
export function writeLate(stage: Stage): () => void {
  const path = join(dockerOf(stage.box), "late");
  try {
    expectMounted(stage.box.root);
  } catch {
    return () => undefined;
  }
  writeFileSync(path, "late\n");
  return () => expect(readFileSync(path, "utf8")).toBe("late\n");
}

/** The next run brings everything up, and then down, and the filesystem is found sound. */
export async function expectRecovers(
  stage: Stage,
  isKept: () => void = () => undefined,
): Promise<void> {
  const { box, disk, file } = stage;
  const report = await up(box, ...disk);
  expectWhole(stage, report);
  isKept();
  await down(box, ...disk.slice(0, 2));
  expect(filesystemGone(report.uuid ?? "")).toBeTrue();
  const device = report.device ?? "";
  if (disk[0] === "--image") expect([...attachedLoops(box.dir).keys()]).toBeEmpty();
  command("btrfs", "check", "--readonly", disk[0] === "--image" ? file : device);
}
