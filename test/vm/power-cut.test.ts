import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { down, up } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { depth } from "../kit/depth.ts";
import { copySparse } from "../kit/image.ts";
import type { Report } from "../kit/report.ts";
import { Sandbox, useSandbox } from "../kit/sandbox.ts";
import { type Cut, cutsOf, flushBefore, seeded, spread, wholeOf } from "../kit/vm/power-cut.ts";
import { type Recording, record } from "../kit/vm/recording.ts";
import { scenes } from "../kit/vm/scenes.ts";
import { WriteLog } from "../kit/vm/write-log.ts";
import { checkFilesystem, expectMounted, markerIsThere, nocowPlaces } from "../kit/volume.ts";

const sandbox = useSandbox();
const LIMIT_MS = depth(110_000, 2 * 3600_000);
setDefaultTimeout(LIMIT_MS);

const SEED = 20_260_101;
/** Subsets, and torn writes, between each two flushes. */
const MORE = depth(2, 5);
/** Of each scene, when not all cuts are made. */
const SLICE = 6;

let stage: Sandbox;
let recordings: ReadonlyMap<string, Recording>;

beforeAll(async () => {
  stage = new Sandbox();
  recordings = await record(stage, scenes);
}, LIMIT_MS);

afterAll(async () => {
  stage.close();
  await stage.ended();
});

/** The next run after a power cut, on this machine, whole: up, a look at what is there, down. */
async function nextRun(
  box: Sandbox,
  image: string,
  options: readonly string[],
  look: (report: Report) => void,
): Promise<Report> {
  const disk = { image, device: box.attach(image) };
  const report = await up(box, "--device", disk.device, ...options);
  expectMounted(box.root);
  const folders = nocowPlaces(box.root);
  const lines = command("lsattr", "-d", ...folders).split("\n");
  expect(lines.filter((line) => line.split(" ")[0]?.includes("C"))).toHaveLength(folders.length);
  look(report);
  await down(box, "--device", disk.device);
  checkFilesystem(disk);
  // The kernel remembers a filesystem by its UUID, which is the same after every cut.
  command("btrfs", "device", "scan", "--forget", disk.device);
  box.detach(disk.device);
  return report;
}

const contentOf = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");

/**
 * A superblock torn by the cut may have pointed to a log of fsyncs that no copy knows. Then the
 * report says so; everything else that a flush made durable must be there.
 */
const saysWhatIsLost = ({ verdict, notes }: Report): boolean =>
  verdict === "damaged" && notes.some((note) => note.startsWith("ATTENTION"));

/** How a cut is named where a test fails. */
const nameOf = ({ durable, since, torn }: Cut): string => {
  const parts = since.map((part) =>
    part === torn ? `${part.index} torn (${part.from} to ${part.to})` : `${part.index}`,
  );
  return `all before ${durable}, then ${parts.join(", ") || "nothing"}`;
};

test.each(scenes.map((scene) => [scene.name, scene] as const))(
  "after a power cut anywhere in %s the next run brings the volume up, with all that was synced",
  async (name, { options, hasMarker, verdicts }) => {
    const box = sandbox();
    const recording = recordings.get(name);
    if (recording === undefined) throw new Error(`nothing was recorded of ${name}`);
    const log = new WriteLog(recording.log);
    box.onEnd(() => log.close());
    const { entries } = log;
    const all = cutsOf(entries, MORE, seeded(SEED));
    const cuts = spread(all, depth(SLICE, all.length));

    // What a flush made durable never goes again: that part of the log is done once.
    const [durable, image] = [box.path("durable.img"), box.path("cut.img")];
    copySparse(recording.before, durable);
    let done = 0;
    const seen = new Map<string, number>();
    const count = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);
    for (const cut of cuts) {
      for (; done < cut.durable; done += 1) log.apply(wholeOf(entries, done), durable);
      copySparse(durable, image);
      for (const part of cut.since) log.apply(part, image);
      const look = (report: Report): void => {
        expect(markerIsThere(box)).toBe(hasMarker);
        const promised = recording.synced.filter(
          (file) => flushBefore(entries, file.entries) < cut.durable,
        );
        const lost = promised.filter(
          ({ path, content }) => contentOf(join(box.root, path)) !== content,
        );
        if (lost.length > 0 && saysWhatIsLost(report)) count("loss that was reported");
        else expect(lost.map(({ path }) => path)).toBeEmpty();
      };
      try {
        const { verdict } = await nextRun(box, image, options, look);
        // A torn superblock is damaged; whole ones never are.
        const torn = cut.torn === null ? [] : ["damaged"];
        expect([...verdicts, ...torn]).toContain(verdict ?? "none");
        count(verdict ?? "none");
      } catch (cause) {
        throw new Error(`${nameOf(cut)}: ${String(cause)}`, { cause });
      }
    }
    const counts = [...seen].map(([what, times]) => `${times} ${what}`).join(", ");
    console.log(`${name}: ${cuts.length} of ${all.length} power cuts: ${counts}`);
    expect([...seen.keys()]).toEqual(expect.arrayContaining([...verdicts]));
  },
);
