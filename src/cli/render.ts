import type { ErrorReport, Report, StepOutcome } from "../volume/report.ts";

/** A byte of a name that is no UTF-8 is half of a surrogate pair in the text (linux/text.ts). */
const byteOf = (code: number): number => (code >= 0xdc80 && code <= 0xdcff ? code & 0xff : code);

/**
 * Text from outside (paths, names on a disk) must not move the cursor of a terminal: control
 * characters, the marks that turn the direction of writing and bytes that are no UTF-8 are shown as their
 * code.
 */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => {
      const code = byteOf(character.codePointAt(0) ?? 0);
      return code < 0x100
        ? `\\x${code.toString(16).padStart(2, "0")}`
        : `\\u${code.toString(16).padStart(4, "0")}`;
    },
  );
}

/**
 * Half of a surrogate pair is JSON, but many programs that read JSON refuse it or put U+FFFD, which tells nobody
 * what the name is. A byte that is no UTF-8 is shown as it is to a person.
 */
const wellFormed = (_key: string, value: unknown): unknown =>
  typeof value === "string" && !value.isWellFormed() ? value.replace(/\p{Cs}/gu, printable) : value;

/** One JSON document and a newline; what JSON allows but a terminal obeys is escaped too. */
export const json = (value: unknown): string =>
  `${JSON.stringify(value, wellFormed, 2).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )}\n`;

export type Paint = (text: string, colour: "green" | "yellow" | "red" | "dim") => string;

const codes = { green: 32, yellow: 33, red: 31, dim: 2 };
export const coloured: Paint = (text, colour) => `\x1b[${codes[colour]}m${text}\x1b[0m`;
export const plain: Paint = (text) => text;

const marks: Record<StepOutcome, readonly [mark: string, colour: Parameters<Paint>[1]]> = {
  kept: ["=", "dim"],
  changed: ["+", "green"],
  failed: ["x", "red"],
  unknown: ["?", "yellow"],
};

const headlines = {
  up: { changed: "The data volume is up.", unchanged: "The data volume is up; nothing to do." },
  plan: { changed: "`up` would change what is marked +.", unchanged: "`up` would change nothing." },
  down: {
    changed: "The data volume is down.",
    unchanged: "The data volume is down; nothing to do.",
  },
};

/** A report for a person. The error is not in it: it goes to standard error. */
export function reportText(action: keyof typeof headlines, report: Report, paint: Paint): string {
  const lines = report.steps.map(({ step, outcome, detail, ms }) => {
    const [mark, colour] = marks[outcome];
    const words = `${mark} ${step.padEnd(12)}${printable(detail)}`;
    return `${paint(words, colour)}${paint(`  ${ms} ms`, "dim")}`;
  });
  for (const note of report.notes) lines.push(paint(`! ${printable(note)}`, "yellow"));
  if (report.outcome !== "failed") {
    const bytes = report.uuid === null ? "" : ` (${report.device}, ${report.uuid})`;
    lines.push(`${headlines[action][report.outcome]}${printable(bytes)}`);
  }
  return `${lines.join("\n")}\n`;
}

export function errorText({ code, message, hint }: ErrorReport, paint: Paint): string {
  const first = `${paint(`arcbox-agent: ${code}:`, "red")} ${printable(message)}`;
  // A slip of the fingers is one line.
  if (code === "usage" && hint !== undefined) return `${first} (${printable(hint)})\n`;
  return hint === undefined
    ? `${first}\n`
    : `${first}\n${paint(`  hint: ${printable(hint)}`, "dim")}\n`;
}
