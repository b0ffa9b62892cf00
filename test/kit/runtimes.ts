import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { tool } from "./command.ts";

const project = join(import.meta.dir, "..", "..");

/** What the library runs in: the Node that is installed, and the Bun that runs the tests. */
export type Runtime = "node" | "bun";
export const runtimes: readonly Runtime[] = ["node", "bun"];

export const runtime = (name: Runtime): string => (name === "bun" ? process.execPath : tool(name));

/** A file of TypeScript as JavaScript, for Node. */
export function asJavaScript(source: string, target: string): string {
  const text = new Bun.Transpiler({ loader: "ts" }).transformSync(readFileSync(source, "utf8"));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
  return target;
}

/** An entry point of the library as it was built. */
export const builtLibrary = (entry: "volume" | "btrfs"): string =>
  join(project, "dist/library", entry, "index.js");

export interface Said {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line without what an `npm run` around the tests tells an npm. */
export async function said(
  line: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Said> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name));
  const run = Bun.spawn([...line], {
    cwd: options.cwd ?? "/",
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  return { exitCode, stdout, stderr };
}
