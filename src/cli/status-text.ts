import { sizeText } from "../volume/size.ts";
import type { Status } from "../volume/status-report.ts";
import type { Problem } from "../volume/problems.ts";
import { type Paint, printable } from "./render.ts";

function headline({ state, device, healthy, problems }: Status): string {
  switch (state) {
    case "up":
      if (healthy) return "The data volume is up and healthy.";
      // Where something could not be looked at, neither word is right.
      return problems.length === 0
        ? "The data volume is up."
        : "The data volume is up and needs attention.";
    case "partial":
      return "The data volume is partly mounted.";
    case "absent":
      return device === null
        ? "There is no such disk."
        : "Whether there is a data volume cannot be seen.";
    case "down":
      return "The data volume is down.";
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

/** A note that says of a disk what a problem says with its advice. */
const isSaid = (note: string, problems: readonly Problem[]): boolean =>
  problems.some(({ message }) => note.startsWith(message));

/** A status for a person who wants to know: is it up, is it healthy, how full, what to do. */
export function statusText(status: Status, paint: Paint, columns: number): string {
  const { healthy, problems, notes } = status;
  const lines: string[] = [];
  const say = (text: string, colour: Parameters<Paint>[1]): void => {
    for (const line of wrapped(text, columns)) lines.push(paint(line, colour));
  };
  const isCritical = problems.some(({ level }) => level === "critical");
  say(headline(status), healthy ? "green" : isCritical ? "red" : "yellow");
  for (const { level, message, hint } of problems) {
    say(`! ${message}; ${hint}`, level === "critical" ? "red" : "yellow");
  }
  for (const note of notes) if (!isSaid(note, problems)) say(`! ${note}`, "yellow");

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
