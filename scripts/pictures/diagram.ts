import { defaultLayout } from "../../src/volume/layout.ts";
import { box, label, picture } from "./svg.ts";

const rowHeight = 46;
const top = 96;
const width = 860;

/** Disk, subvolumes and mount points, drawn from the layout that the program has. */
export function diagram(): string {
  const { entries, rawPath, label: name } = defaultLayout;
  const height = top + entries.length * rowHeight + 84;
  const inner = entries.length * rowHeight + 44;
  const rows = entries.map(({ subvolume, path, noCopyOnWrite, noCopyOnWriteFiles }, i) => {
    const y = top + i * rowHeight;
    const databases = noCopyOnWrite.length + noCopyOnWriteFiles.length;
    const nocow = databases === 0 ? "" : `NOCOW: ${databases} places of databases`;
    return [
      box(48, y, 190, 34, "#4fb286"),
      label(62, y + 22, subvolume, "#8fe0b8"),
      `<path d="M238 ${y + 17} H394" stroke="#5b6674" marker-end="url(#arrow)"/>`,
      label(286, y + 11, "mounted at", "#8a94a3", ' font-size="11"'),
      box(400, y, 420, 34, "#5a8fd6"),
      label(414, y + 22, path, "#a8ccff"),
      label(640, y + 22, nocow, "#8a94a3", ' font-size="11"'),
    ].join("\n");
  });
  const rawY = top + entries.length * rowHeight + 28;
  return picture(
    "The subvolumes of the disk, and where each is mounted",
    width,
    height,
    `<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#5b6674"/></marker></defs>
${label(24, 32, "the disk (/dev/vdb, or a file)", "#f0c674")}
${label(400, 32, "where container software looks", "#f0c674")}
${box(24, 48, 238, inner + 40, "#f0c674")}
${label(40, 74, `Btrfs "${name}"`)}
${rows.join("\n")}
${label(400, rawY + 8, `${rawPath}  (the whole filesystem, for the agent)`, "#8a94a3")}
<path d="M262 ${rawY + 4} H394" stroke="#5b6674" stroke-dasharray="4 3" marker-end="url(#arrow)"/>`,
  );
}
