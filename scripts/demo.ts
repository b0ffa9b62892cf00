// The main job from beginning to end, for somebody who has never seen Btrfs. `npm run demo` starts
// it as root in a mount namespace of its own (scripts/run.sh says why).
import { existsSync, readdirSync, readFileSync, statfsSync } from "node:fs";
import { GiB, MiB } from "../test/kit/image.ts";
import { mountsUnder } from "../test/kit/mountinfo.ts";
import { inGib, inMib, lookAtImage } from "./demo/facts.ts";
import { act, aside, check, verdict } from "./demo/narrator.ts";
import {
  attached,
  cleanUp,
  image,
  leftovers,
  makeFolder,
  mounted,
  refuseForeignMounts,
  root,
  Stopped,
  shell,
  shown,
  stopOnSignals,
  volume,
} from "./demo/stage.ts";

const docker = `${root}/var/lib/docker`;
const note = `${docker}/note.txt`;
const text = "I survive a reboot.";

function opening(): void {
  console.log(
    `A container machine starts from a system image that nobody can write to. Whatever must survive
a reboot lives on one other disk. On every boot arcbox-agent finds that disk, prepares it if
it is new, and makes it appear where Docker, containerd and Kubernetes keep their data.

Here the disk is a file, ${shown(image)}, and the machine's folders are below ${shown(root)}.
The filesystem on it is Btrfs: it compresses what it stores, it can grow while in use, and one
of it holds several "subvolumes", folders that can each be mounted in a place of their own.`,
  );
}

async function firstBoot(): Promise<number> {
  act(
    "First boot: a blank disk",
    `There is no disk yet. One command makes it and puts it to use. It says what it did step by
step: "+" marks what it changed, "=" what was already as it should be.`,
  );
  const ms = await volume("up", "--size", "64G");
  const { sizeBytes, usedBytes } = lookAtImage(image);
  const places = mountsUnder(`${root}/var/lib`);
  check("five subvolumes are mounted where the daemons look", places.length === 5);
  check("the disk has 64 GiB", sizeBytes === 64 * GiB);
  check(
    "it takes up next to nothing until it is filled",
    usedBytes < 64 * MiB,
    `${inMib(usedBytes)} so far`,
  );
  return ms;
}

async function daemonAtWork(): Promise<void> {
  act("Docker stores something", "In Docker's stead we write a file into its folder.");
  await shell(`echo '${text}' > ${shown(note)}`);
  act(
    "The same command again",
    "Boot scripts run twice, people try things out: asking for what is there already does nothing.",
  );
  const before = mounted().join();
  await volume("up");
  check("nothing was mounted a second time", mounted().join() === before);
}

async function shutdown(title: string, why: string): Promise<void> {
  act(title, why);
  await volume("down");
  check("nothing is mounted any more", mounted().length === 0);
  check("Docker's folder is empty: the data is on the disk only", readdirSync(docker).length === 0);
  check("the disk is no longer attached", attached().length === 0);
}

async function secondBoot(): Promise<number> {
  act(
    "Second boot: the disk is known",
    "The command is the same. It recognises its own disk, and only mounts.",
  );
  const before = lookAtImage(image);
  const ms = await volume("up");
  // What the kernel might still hold back has to be on the disk before we look.
  await shell(`sync --file-system ${shown(docker)}`);
  const after = lookAtImage(image);
  check("the file is still there", readNote() === text, readNote());
  check(
    "not a byte was written to the disk",
    after.generation === before.generation && after.writtenAtMs === before.writtenAtMs,
    `it is at transaction ${after.generation}, as before`,
  );
  return ms;
}

async function thirdBoot(): Promise<number> {
  act(
    "The disk grows",
    "The machine's owner gives the disk twice the size while the machine is off, and boots again.",
  );
  await shell(`truncate --size 128G ${shown(image)}`);
  const ms = await volume("up");
  await shell(`df --human-readable --output=size,used,target ${shown(docker)}`);
  const { bsize, blocks } = statfsSync(docker);
  check("the filesystem has the whole disk", bsize * blocks === 128 * GiB, inGib(bsize * blocks));
  check("the file is still there", readNote() === text);
  return ms;
}

function readNote(): string {
  return existsSync(note) ? readFileSync(note, "utf8").trimEnd() : "no file";
}

function summary(first: number, second: number, third: number): void {
  const { usedBytes } = lookAtImage(image);
  act(
    "In short",
    `First boot   ${first.toFixed(0).padStart(4)} ms   blank disk formatted, five subvolumes made and mounted
Second boot  ${second.toFixed(0).padStart(4)} ms   recognised and mounted, nothing written
Third boot   ${third.toFixed(0).padStart(4)} ms   grown to 128 GiB, the data untouched
The disk of 128 GiB took up ${inMib(usedBytes)}.`,
  );
}

async function play(): Promise<void> {
  const first = await firstBoot();
  await daemonAtWork();
  await shutdown("Shutdown", "Everything is unmounted, the last first, and the disk let go.");
  const second = await secondBoot();
  await shutdown("Shutdown again", "As before.");
  const third = await thirdBoot();
  await shutdown("The end", "One last shutdown.");
  summary(first, second, third);
}

async function main(): Promise<number> {
  stopOnSignals();
  refuseForeignMounts();
  if (leftovers().length > 0) {
    aside("A demo that was killed has left something behind, which is removed first.");
    await cleanUp();
  }
  opening();
  try {
    makeFolder();
    await play();
  } finally {
    await cleanUp();
  }
  check("the demo has cleaned up after itself", leftovers().length === 0);
  return verdict() ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof Stopped) {
    console.log("\nStopped, and cleaned up.");
    process.exitCode = 130;
  } else {
    console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
