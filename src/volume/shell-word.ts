/** A path as one word of a shell's command line, so that a hint can be done as it is written. */
export const shellWord = (path: string): string =>
  /^[\w./+,:@=-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
