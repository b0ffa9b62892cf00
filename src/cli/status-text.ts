import { sizeText } from "../volume/size.ts";
import type { Status } from "../volume/status-report.ts";
import { type Paint, printable } from "./render.ts";

/** What is wrong, and what to do about it; nothing when all is well. */
function problemsOf(status: Status): string[] {
  const problems: string[] = [];
  const { bytes, errors, superblocks, verdict, subvolumes, state } = status;
  if (status.forcedReadOnly) {
    problems.push(
      "THE KERNEL HAS MADE THE VOLUME READ-ONLY AFTER AN ERROR: nothing is saved any more, though programs " +
        "may not notice. See dmesg; stop the daemons, then: volume down, volume up",
    );
  } else if (status.readOnly) {
    problems.push("the volume is mounted read-only: unmount it, then: volume up");
  }
  if (bytes.writable === 0 && !status.readOnly) {
    problems.push("the volume is full: remove images or volumes, or give the disk more space");
  }
  if (
    bytes.device !== null &&
    bytes.filesystem !== null &&
    bytes.device - bytes.filesystem >= 4096
  ) {
    problems.push(
      `the disk is larger than the filesystem: volume up grows it to ${sizeText(bytes.device)}`,
    );
  }
  const bad = superblocks.filter((copy) => copy.state !== "valid");
  if (bad.length > 0 && verdict !== "damaged") {
    const which = bad.map(({ offset, state }) => `the one at ${sizeText(offset)} is ${state}`);
    problems.push(`not every copy of the superblock is good: ${which.join(", ")}`);
  }
  const counted = Object.entries(errors ?? {}).filter(([, count]) => count > 0);
  if (counted.length > 0) {
    const text = counted.map(([kind, count]) => `${count} ${kind}`).join(", ");
    problems.push(`the disk has had errors (${text}): check it, and keep a backup`);
  }
  const plainCow = subvolumes.flatMap(({ name, nocow }) =>
    nocow.filter(({ set }) => set === false).map(({ directory }) => `${name}/${directory}`),
  );
  if (plainCow.length > 0) problems.push(`not NOCOW: ${plainCow.join(", ")}; volume up sets it`);
  if (state === "partial") problems.push("not everything is mounted: volume up mounts the rest");
  const advice = verdict === null ? undefined : adviceFor[verdict];
  if (advice !== undefined) problems.push(advice);
  return problems;
}

const adviceFor: Partial<Record<NonNullable<Status["verdict"]>, string>> = {
  unreadable: "the disk cannot be read: check it and its cable or host",
  foreign:
    "something else is on the disk: choose another, or volume up --format any, which destroys it",
  "multi-device": "the disk belongs to a Btrfs of several devices: choose another",
  shrunk: "the disk is smaller than its filesystem: give it its old size back",
  wiped: "the filesystem was wiped on purpose; to bring it back: volume up --repair always",
  damaged: "the superblock is damaged: volume up repairs it from its copy",
  ambiguous: "the superblock is overwritten, a copy is intact: volume up --repair always uses it",
  interrupted:
    "a format has begun and is not done: unless one is running now, volume up finishes it",
  hopeless: "no copy of the superblock is intact: try btrfs rescue super-recover, or a backup",
  unknown:
    "something unknown is on the disk: choose another, or volume up --format any, which destroys it",
};

function headline({ state, verdict, device, superblocks }: Status, isHealthy: boolean): string {
  switch (state) {
    case "up":
      if (verdict !== null && superblocks.length === 0) return "The data volume is up.";
      return `The data volume is up and ${isHealthy ? "healthy" : "needs attention"}.`;
    case "partial":
      return "The data volume is partly mounted.";
    case "absent":
      return device === null
        ? "There is no such disk."
        : "Whether there is a data volume cannot be seen.";
    case "down":
      return verdict === "blank"
        ? `The data volume is down: ${device} is blank, volume up formats it.`
        : "The data volume is down.";
  }
}

const barCells = (columns: number): number => Math.max(8, Math.min(30, columns - 50));

function bar(part: number, whole: number, cells: number): string {
  const share = whole <= 0 ? 0 : Math.min(1, part / whole);
  const full = Math.round(share * cells);
  return `${"█".repeat(full)}${"░".repeat(cells - full)} ${String(Math.round(share * 100)).padStart(3)} %`;
}

/** Shortens a line to the width of the terminal. */
function fitted(text: string, columns: number): string {
  const characters = Array.from(text);
  return characters.length <= columns ? text : `${characters.slice(0, columns - 1).join("")}…`;
}

/** Breaks a sentence at spaces; a word that is longer than the line is cut into pieces. */
function wrapped(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of printable(text).split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (Array.from(longer).length <= columns) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    let rest = Array.from(`  ${word}`);
    for (; rest.length > columns; rest = rest.slice(columns))
      lines.push(rest.slice(0, columns).join(""));
    line = rest.join("");
  }
  return [...lines, line];
}

/** A status for a person who wants to know: is it up, is it healthy, how full, what to do. */
export function statusText(status: Status, paint: Paint, columns: number): string {
  const problems = problemsOf(status);
  const isHealthy = problems.length === 0 && status.notes.length === 0;
  const isLoud = status.forcedReadOnly === true || status.bytes.writable === 0;
  const lines: string[] = [];
  const say = (text: string, colour: Parameters<Paint>[1]): void => {
    for (const line of wrapped(text, columns)) lines.push(paint(line, colour));
  };
  const alarm = isLoud ? "red" : "yellow";
  say(headline(status, isHealthy), isHealthy ? "green" : alarm);
  for (const problem of problems) say(`! ${problem}`, alarm);
  for (const note of status.notes) say(`! ${note}`, "yellow");

  const cells = barCells(columns);
  const row = (name: string, text: string): void => {
    lines.push(fitted(printable(`  ${name.padEnd(13)}${text}`), columns));
  };
  const { device, filesystem, used, writable, unallocated } = status.bytes;
  if (used !== null && filesystem !== null) {
    row("used", `${bar(used, filesystem, cells)}  ${sizeText(used)} of ${sizeText(filesystem)}`);
  }
  if (writable !== null) row("writable", `${sizeText(writable)} more can be written`);
  for (const { type, profile, total, used: inUse } of status.profiles) {
    row(type, `${bar(inUse, total, cells)}  ${sizeText(inUse)} of ${sizeText(total)}, ${profile}`);
  }
  if (unallocated !== null) row("unallocated", sizeText(unallocated));
  if (device !== null) {
    const verdict = status.verdict === "mounted" ? "" : `, ${status.verdict}`;
    row("disk", `${status.device}, ${sizeText(device)}${verdict}`);
  }
  const label = status.label === null ? "" : ` "${status.label}"`;
  if (status.uuid !== null) row("filesystem", `${status.uuid}${label}`);
  if (status.options !== null) row("options", status.options);
  for (const { name, path, mounted, nocow } of status.subvolumes) {
    const flagged = nocow.filter(({ set }) => set === true).length;
    const isSeen = nocow.length > 0 && nocow.every(({ set }) => set !== null);
    const flags = isSeen && mounted ? `, NOCOW ${flagged} of ${nocow.length}` : "";
    row(name, `${mounted ? "mounted at" : "not mounted at"} ${path}${flags}`);
  }
  return `${lines.join("\n")}\n`;
}
