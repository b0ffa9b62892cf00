/** Colour is for people: only on a terminal, and not for who asked for none (no-color.org). */
const inColour = process.stdout.isTTY && !process.env.NO_COLOR;

const paint = (code: number) => (text: string) => (inColour ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = paint(1);
const dim = paint(2);
const red = paint(31);
const green = paint(32);

const kept: string[] = [];
const broken: string[] = [];

export function act(title: string, why: string): void {
  console.log(`\n${bold(`── ${title} `.padEnd(80, "─"))}\n${why}\n`);
}

export function command(line: string): void {
  console.log(bold(`$ ${line}`));
}

export function aside(text: string): void {
  console.log(dim(text));
}

/** A claim that the demo makes, and whether it held; `fact` is what was seen. */
export function check(claim: string, holds: boolean, fact = ""): void {
  (holds ? kept : broken).push(claim);
  const seen = fact === "" ? "" : dim(` (${fact})`);
  console.log(`${holds ? green("  ✓") : red("  ✗ does not hold:")} ${claim}${seen}`);
}

/** Says how the checks went. True if all held. */
export function verdict(): boolean {
  if (broken.length === 0) {
    console.log(green(`All ${kept.length} checks held.`));
    return true;
  }
  const names = broken.map((claim) => `\n  ✗ ${claim}`).join("");
  console.log(
    red(`${broken.length} of ${kept.length + broken.length} checks did not hold:${names}`),
  );
  return false;
}
