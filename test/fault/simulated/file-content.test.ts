import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  parseSuperblock,
  primaryOffset,
  type Superblock,
  withFields,
} from "../../../src/btrfs/superblock.ts";
import { plan } from "../../../src/volume/plan.ts";
import type { Report } from "../../../src/volume/report.ts";
import {
  blockSignatures,
  endSignatures,
  gpt,
  headSignatures,
} from "../../../src/volume/signatures.ts";
import { depth } from "../../kit/depth.ts";
import { SimulatedKernel } from "../../kit/simulated/kernel.ts";
import { intentRecord } from "../../kit/verdict-seeds.ts";
import { GiB, MiB, mirrorPlaces } from "./content.ts";
import { storageOf } from "./facts.ts";
import { run } from "./run.ts";
import { type Scene, sceneOf } from "./scene.ts";
import { type Start, starts } from "./start.ts";

const TiB = 1024 * GiB;
const sizes = [256 * MiB, GiB + 512, 5 * GiB, 64 * GiB, 600 * GiB, 2 * TiB, 8 * TiB];

/** Everything that the program takes for somebody's mark, wherever on a disk it looks for it. */
const magics: readonly Uint8Array[] = [
  ...[...headSignatures(), ...blockSignatures(), ...endSignatures()].map(({ magic }) => magic),
  gpt,
];

/** One thing that a user wrote into a file, and about where on the disk the file has it. */
interface Planted {
  readonly what: "end mark" | "mark" | "record" | "superblock" | "noise";
  readonly which: number;
  readonly where: "end" | "sample" | "backup" | "middle" | "mirror" | "anywhere";
  readonly at: number;
}

const planted: fc.Arbitrary<readonly Planted[]> = fc.array(
  fc.record({
    what: fc.constantFrom("end mark", "mark", "record", "superblock", "noise"),
    which: fc.nat(),
    where: fc.constantFrom("end", "sample", "backup", "middle", "mirror", "anywhere"),
    at: fc.nat(),
  }),
  { minLength: 1, maxLength: 8 },
);

/** A mark just where a disk of this size has it. */
function endMark({ which, at }: Planted, sizeBytes: number): readonly [number, Uint8Array] {
  const signatures = endSignatures();
  const signature = signatures[which % signatures.length];
  const places = signature?.offsets(sizeBytes) ?? [];
  return [places[at % places.length] ?? 0, signature?.magic ?? new Uint8Array()];
}

function placeOf({ where, at }: Planted, sizeBytes: number): number {
  switch (where) {
    case "end":
      return sizeBytes - 512 * (1 + (at % 256));
    case "sample":
      return Math.floor((((at % 256) + 0.5) * sizeBytes) / 256 / 4096) * 4096;
    case "backup":
      return [128 * MiB, 32 * MiB, sizeBytes / 4, sizeBytes / 2][at % 4] ?? 0;
    case "middle":
      return Math.floor(sizeBytes / 2 / 4096) * 4096 + (at % 2) * MiB;
    case "mirror":
      return (mirrorPlaces[at % 2] ?? 0) + 64 * 1024;
    case "anywhere":
      return Math.floor(((at % 100_000) / 100_000) * sizeBytes);
  }
}

/** Where the simulated filesystem has its trees; a file's bytes are nowhere near them. */
const trees = [5 * MiB, 21 * MiB];

/** True of what Btrfs may give to a file: its own bytes are left out, and what it keeps free. */
function isOfFiles(start: number, end: number, filesystemBytes: number): boolean {
  const touches = (from: number, to: number): boolean => start < to && from < end;
  return (
    start >= MiB &&
    end <= filesystemBytes &&
    !mirrorPlaces.some((place) => touches(place, place + 64 * 1024)) &&
    !trees.some((place) => touches(place, place + MiB))
  );
}

/** Writes what the user planted; gives how many of it have a place in a file. */
function plant(scene: Scene, things: readonly Planted[]): number {
  const storage = storageOf(scene.world, scene);
  if (storage === null) return 0;
  const block = new Uint8Array(4096);
  storage.read(block, primaryOffset);
  const primary = parseSuperblock(block);
  const filesystemBytes = Number(primary.deviceBytes);
  let count = 0;
  for (const thing of things) {
    const [place, bytes] = pieceOf(thing, storage.sizeBytes, primary);
    if (!isOfFiles(place, place + bytes.length, filesystemBytes)) continue;
    storage.write(bytes, place);
    count++;
  }
  storage.flush();
  return count;
}

function pieceOf(
  thing: Planted,
  sizeBytes: number,
  primary: Superblock,
): readonly [place: number, bytes: Uint8Array] {
  const { what, which } = thing;
  const place = placeOf(thing, sizeBytes);
  switch (what) {
    case "end mark":
      return endMark(thing, sizeBytes);
    case "mark":
      return [place, magics[which % magics.length] ?? new Uint8Array()];
    case "record":
      return [place, intentRecord(sizeBytes, new Uint8Array(16).fill(which % 256))];
    case "superblock":
      return [place, withFields(primary, { address: BigInt(place) }).block];
    case "noise":
      return [place, new Uint8Array(4096).fill(1 + (which % 255))];
  }
}

const withoutTimes = (report: Report): unknown => ({
  ...report,
  ms: 0,
  steps: report.steps.map((step) => ({ ...step, ms: 0 })),
});

/** What `plan` and `up` say and write. */
function outcomeOf(scene: Scene): unknown {
  const planned = plan(new SimulatedKernel(scene.world.clone()), scene.options, () => undefined);
  const { report, world } = run(scene.world.clone(), scene);
  return { plan: withoutTimes(planned), up: withoutTimes(report), effects: world.effects };
}

const filesystems: readonly Start["verdict"][] = ["btrfs", "mounted", "damaged"];

test("no content of files changes a verdict, a plan or a write", () => {
  let met = 0;
  fc.assert(
    fc.property(
      starts.filter(({ verdict }) => filesystems.includes(verdict)),
      fc.constantFrom(...sizes),
      planted,
      (some, sizeBytes, things) => {
        // A superblock whose checksum type was damaged cannot be forged with it.
        const start: Start = { ...some, sizeBytes, variant: 0 };
        const plain = sceneOf(start);
        const full = sceneOf(start);
        met += plant(full, things);
        expect(outcomeOf(full)).toEqual(outcomeOf(plain));
      },
    ),
    { numRuns: depth(400, 100_000), seed: Number(process.env.ARCBOX_SEED ?? 1) },
  );
  // A test whose marks hardly ever lie in a file proves nothing.
  expect(met).toBeGreaterThan(depth(400, 100_000));
});
