import { verdictOf } from "./bars.ts";
import type { Results } from "./results.ts";
import { barsTable, figures } from "./table.ts";

const fenced = (text: string): string => `\`\`\`\n${text.trim()}\n\`\`\``;

function howMeasured({ machine, runs }: Results): string {
  const { kernel, cpus, mkfs, busybox, imagesOn } = machine;
  return `Whole processes in turn, ${runs} runs each, medians; Linux ${kernel}, ${cpus}, ${mkfs}, ${busybox}, images on ${imagesOn}.`;
}

/** What stands between the marks of docs/performance.md, by their names. */
export const measuredText = (results: Results): Readonly<Record<string, string>> => ({
  figures: `${howMeasured(results)}\n\n${fenced(figures(results))}`,
  bars: `${fenced(barsTable(results.bars))}\n\n${verdictOf(results.bars)}`,
});

/** Puts each text between `<!-- measured: NAME -->` and `<!-- end -->`. Throws where a mark is missing. */
export function filled(document: string, texts: Readonly<Record<string, string>>): string {
  let result = document;
  for (const [name, text] of Object.entries(texts)) {
    const begin = `<!-- measured: ${name} -->\n`;
    const from = result.indexOf(begin);
    const to = result.indexOf("\n<!-- end -->", from + begin.length);
    if (from < 0 || to < 0) throw new Error(`there is no place for the ${name}`);
    result = result.slice(0, from + begin.length) + text + result.slice(to);
  }
  return result;
}
