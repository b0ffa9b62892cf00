const width = 78;

/** What is being measured, on one line of the terminal; elsewhere one line for each `what`. */
export function progress(what: string, done: number, of: number): void {
  if (process.stderr.isTTY) {
    process.stderr.write(`\r${`${what}: ${done} of ${of}`.padEnd(width)}`);
    if (done === of) process.stderr.write(`\r${" ".repeat(width)}\r`);
  } else if (done === 0) {
    process.stderr.write(`measuring ${what}\n`);
  }
}
