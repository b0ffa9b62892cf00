/** A path as a shell takes it, for a command that a person may copy out of a hint. */
export const quoted = (path: string): string =>
  /^[\w./+,:@-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
