/** Just enough SVG for our two pictures. */

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const font = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

/** A picture that stands on light and on dark pages alike: it brings its own ground. */
export function picture(
  title: string,
  width: number,
  height: number,
  body: string,
  style = "",
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="${font}" font-size="13" role="img">
<title>${escaped(title)}</title>
<style>text { white-space: pre } ${style}</style>
<rect width="${width}" height="${height}" rx="8" fill="#12161c"/>
${body}
</svg>
`;
}

export function label(x: number, y: number, text: string, fill = "#d7dde5", extra = ""): string {
  return `<text x="${x}" y="${y}" fill="${fill}"${extra}>${escaped(text)}</text>`;
}

export function box(x: number, y: number, width: number, height: number, stroke: string): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="#1b222b" stroke="${stroke}"/>`;
}
