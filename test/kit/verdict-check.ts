import { SystemError } from "../../src/linux/errno.ts";
import { lookAtCopies } from "../../src/volume/superblocks.ts";
import { glance, judge, type Verdict } from "../../src/volume/verdict.ts";
import { demandSafeDecisions } from "./decision-check.ts";
import {
  bytesIn,
  fields,
  isSound,
  number,
  primaryPlace,
  superblockBytes,
} from "./own-superblock.ts";
import { bytesOf, diskOf, isZero, type Meter, type Sketch } from "./sketch.ts";
import {
  claimedBytes,
  contradictsBlank,
  contradictsInterrupted,
  demand,
  fits,
  hasTrueIntent,
  holdsBtrfsMagic,
  isHeadZero,
  isPrimarySound,
  isWiped,
  namesSame,
  ownerOf,
  soundCopies,
} from "./verdict-oracle.ts";

const MiB = 1024 * 1024;
/** A disk of 16 TiB is judged from some 600 places; more reads than this is a loop. */
const mostReads = 1500;
const mostBytes = 12 * MiB;
const longestRead = 16 * MiB;
/** 64 KiB, and the superblock behind it: where every owner's mark is looked for. */
const headBytes = 68 * 1024;

function demandBounded({ reads, bytes, longest }: Meter, sketch: Sketch): void {
  // Of a file all data is read, but nothing else.
  const ofFile = sketch.isFile ? sketch.blocks.size * 4096 : 0;
  // Where a format was cut short, the whole head is read, in which mkfs writes.
  const most = mostBytes + ofFile + (hasTrueIntent(sketch) ? 40 * MiB : 0);
  demand(reads <= mostReads && bytes <= most, `${reads} reads of ${bytes} bytes`);
  demand(longest <= longestRead, `a read of ${longest} bytes`);
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

function believedBlock(verdict: Verdict): Uint8Array | null {
  if ("mirror" in verdict) return verdict.mirror.block;
  return verdict.kind === "shrunk" || verdict.kind === "multi-device"
    ? verdict.superblock.block
    : null;
}

/** What each verdict claims of the disk must be so. */
function demandTrue(verdict: Verdict, sketch: Sketch): void {
  const { kind } = verdict;
  const copies = soundCopies(sketch);
  const mirrors = copies.filter(({ place }) => place !== primaryPlace);
  const primary = bytesOf(sketch, primaryPlace, superblockBytes);
  const isSoundHere = isPrimarySound(sketch);
  const isMirror = (block: Uint8Array): boolean =>
    mirrors.some((mirror) => equal(mirror.block, block));

  // What is still known to be a Btrfs has files up to its end, and their bytes own nothing.
  const believed = believedBlock(verdict);
  const owner =
    believed === null ? ownerOf(sketch) : ownerOf(sketch, number(believed, "deviceBytes"));
  demand(owner === null || kind === "foreign", `${owner} is called ${kind}`);
  demand(
    !isSoundHere || ["foreign", "btrfs", "multi-device", "shrunk"].includes(kind),
    `a sound Btrfs is called ${kind}`,
  );

  switch (verdict.kind) {
    case "btrfs":
      demand(isSoundHere, "btrfs, but the kernel refuses the superblock");
      demand(fits(primary, sketch.sizeBytes), "btrfs, but not of this one device");
      demand(equal(verdict.superblock.block, primary), "btrfs, of another block");
      break;
    case "multi-device":
    case "shrunk": {
      const { block } = verdict.superblock;
      demand(!fits(block, sketch.sizeBytes), `${kind}, but it fits`);
      demand(isSoundHere ? equal(block, primary) : isMirror(block), `${kind}, of no sound copy`);
      break;
    }
    case "wiped":
      demand(isWiped(sketch), "wiped, but more than the magic is wrong");
      demand(
        isSound(verdict.mirror.block, primaryPlace),
        "wiped, and what revives it is not sound",
      );
      break;
    case "damaged":
      demand(!isSoundHere && isMirror(verdict.mirror.block), "damaged, without a sound mirror");
      demand(isHeadZero(sketch), "damaged, and something is in front of it");
      demand(
        fits(verdict.mirror.block, sketch.sizeBytes),
        "damaged, by a mirror that does not fit",
      );
      demand(
        namesSame(primary, verdict.mirror.block),
        "damaged, but the primary does not name this mirror",
      );
      demandAgreement(
        primary,
        verdict.mirror.block,
        mirrors.map(({ block }) => block),
      );
      break;
    case "ambiguous":
      demand(!isSoundHere && isMirror(verdict.mirror.block), "ambiguous, without a sound mirror");
      break;
    case "interrupted":
      demand(copies.length === 0, "interrupted, beside a sound copy");
      demand(hasTrueIntent(sketch), "interrupted, without a true record");
      demand(!contradictsInterrupted(sketch), "interrupted, beside what mkfs never wrote");
      break;
    case "hopeless":
      demand(copies.length === 0 && holdsBtrfsMagic(sketch), "hopeless without reason");
      break;
    case "blank": {
      const place = contradictsBlank(sketch);
      demand(place === null, `blank, but look at ${place?.[0]}`);
      demand(copies.length === 0, "blank, with a superblock");
      break;
    }
    case "unknown":
      demand(bytesOf(sketch, verdict.offset, 1)[0] !== 0, `unknown, but ${verdict.offset} is zero`);
      break;
    case "foreign":
      demand(holdsSomethingForeign(sketch), "foreign, but there are only zeros");
      break;
    case "unreadable":
    case "mounted":
      break;
  }
}

/** Another sound mirror of the same filesystem must be of the same device, and not newer. */
function demandAgreement(
  primary: Uint8Array,
  chosen: Uint8Array,
  mirrors: readonly Uint8Array[],
): void {
  const isLegible = mirrors.some((mirror) => namesSame(primary, mirror));
  for (const mirror of mirrors) {
    if (isLegible && !namesSame(primary, mirror)) continue;
    const agrees = (["fsid", "deviceUuid"] as const).every((name) =>
      equal(bytesIn(mirror, name), bytesIn(chosen, name)),
    );
    demand(agrees, "damaged, but the mirrors disagree");
    const generation = (block: Uint8Array): bigint =>
      new DataView(block.buffer, block.byteOffset).getBigUint64(fields.generation[0], true);
    // A copy beyond the end of the filesystem is of when that was larger.
    const isWithin = number(mirror, "bytenr") < number(primary, "deviceBytes");
    demand(
      !isWithin || generation(mirror) <= generation(chosen),
      "damaged, and an older mirror is taken",
    );
  }
}

const endBytes = 128 * 1024;
const holdsSomethingForeign = (sketch: Sketch): boolean =>
  !isZero(bytesOf(sketch, 0, headBytes)) ||
  !isZero(bytesOf(sketch, Math.max(0, sketch.sizeBytes - endBytes), endBytes));

/** The short look of a warm boot goes on only with what the long one would not refuse. */
function demandSafeGlance(verdict: Verdict, sketch: Sketch): void {
  const { disk, meter } = diskOf(sketch);
  let superblock: ReturnType<typeof glance> = null;
  try {
    superblock = glance(disk);
  } catch (error) {
    demand(error instanceof SystemError && meter.failed, `a glance threw ${String(error)}`);
  }
  demandBounded(meter, sketch);
  if (superblock !== null) {
    // Only the checksum is left to the kernel.
    const primary = bytesOf(sketch, primaryPlace, superblockBytes);
    demand(fits(primary, sketch.sizeBytes), "a glance takes what does not fit");
    const owner = ownerOf(sketch, claimedBytes(sketch));
    demand(owner === null && !hasTrueIntent(sketch), "a glance overlooks an owner");
    demand(verdict.kind === "btrfs" || !isPrimarySound(sketch), `a glance takes ${verdict.kind}`);
  }
  const isWarm = verdict.kind === "btrfs" && !meter.failed && !hasTrueIntent(sketch);
  demand(!isWarm || superblock !== null, "a glance misses a sound volume");
}

/** Judges the sketch, and throws when anything that must hold does not. Gives what was found. */
export function checkVerdict(sketch: Sketch): { readonly verdict: Verdict; readonly meter: Meter } {
  const { disk, meter } = diskOf(sketch);
  const verdict = judge(disk, null);
  demandBounded(meter, sketch);
  demand(meter.failed === (verdict.kind === "unreadable"), `a read failed: ${verdict.kind}`);

  const readable: Sketch = { ...sketch, unreadable: [] };
  const truth = sketch.unreadable.length === 0 ? verdict : judge(diskOf(readable).disk, null);
  demand(
    verdict.kind === truth.kind || verdict.kind === "unreadable",
    `a read error makes ${verdict.kind} of ${truth.kind}`,
  );
  const headEnd = Math.min(headBytes, sketch.sizeBytes);
  const isHeadUnreadable = sketch.unreadable.some(([from, to]) => from < headEnd && to > 0);
  demand(!isHeadUnreadable || verdict.kind === "unreadable", "the head cannot be read");
  demandTrue(truth, readable);
  if (truth !== verdict) demandSafeDecisions(truth, readable);
  demandSafeDecisions(verdict, sketch);
  demandSafeGlance(verdict, sketch);
  lookAtCopies(diskOf(sketch).disk);
  return { verdict, meter };
}
