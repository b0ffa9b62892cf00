/** What one run of `bun test` reported. */
export interface Results {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Files that ran, or skipped, at least one test. */
  readonly files: ReadonlySet<string>;
}

/** A test with nothing to tell ends in "/>"; in attributes Bun writes ">" as an entity. */
const TESTCASE = /<testcase\b[^>]*?\bfile="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs;

/** Counts the tests in a JUnit report as Bun writes it. */
export function readJunit(xml: string): Results {
  const files = new Set<string>();
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [, file = "", body = ""] of xml.matchAll(TESTCASE)) {
    files.add(file);
    if (/<(failure|error)\b/.test(body)) failed++;
    else if (/<skipped\b/.test(body)) skipped++;
    else passed++;
  }
  return { passed, failed, skipped, files };
}
