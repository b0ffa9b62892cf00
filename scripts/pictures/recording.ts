import { label, picture } from "./svg.ts";

const lineHeight = 18;
const visibleLines = 30;
const width = 900;
/** The demo is over in a second; nobody reads that fast. */
const secondsPerLine = 0.55;
const restSeconds = 6;

function colourOf(text: string): string {
  if (text.startsWith("── ")) return "#f0c674";
  if (text.startsWith("$ ")) return "#ffffff";
  if (/^\s+✓/.test(text) || text.startsWith("+ ")) return "#8fe0b8";
  if (text.startsWith("= ")) return "#8a94a3";
  return "#d7dde5";
}

/** Plays the lines of a run in their order, at a speed that can be read, and begins again. */
export function recording(lines: readonly string[]): string {
  const total = lines.length * secondsPerLine + restSeconds;
  const percent = (seconds: number): string => ((seconds / total) * 100).toFixed(3);
  const rows = lines.map((text, i) =>
    label(16, (i + 1) * lineHeight, text.slice(0, 112), colourOf(text), ` class="l l${i}"`),
  );
  const appear = lines.map(
    (_, i) =>
      `.l${i}{animation:a${i} ${total}s steps(1) infinite}@keyframes a${i}{0%{opacity:0}${percent(i * secondsPerLine)}%,100%{opacity:1}}`,
  );
  const overflow = Math.max(0, lines.length - visibleLines);
  const scroll = Array.from({ length: overflow }, (_, i) => {
    const at = percent((visibleLines + i) * secondsPerLine);
    return `${at}%{transform:translateY(-${(i + 1) * lineHeight}px)}`;
  });
  const style = `${appear.join("")}.s{animation:s ${total}s steps(1) infinite}@keyframes s{0%{transform:none}${scroll.join("")}100%{transform:translateY(-${overflow * lineHeight}px)}}`;
  const height = visibleLines * lineHeight + 32;
  return picture(
    "The demo, recorded",
    width,
    height,
    `<svg x="0" y="12" width="${width}" height="${visibleLines * lineHeight + 8}"><g class="s">\n${rows.join("\n")}\n</g></svg>`,
    style,
  );
}
