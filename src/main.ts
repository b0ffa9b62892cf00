import { version } from "../package.json" with { type: "json" };

const argv = process.argv.slice(2);

/** The one command that needs nothing of the kernel, and so does not load the way to it. */
async function showVersion(): Promise<number> {
  try {
    await Bun.write(Bun.stdout, `arcbox-agent ${version}\n`);
  } catch (error) {
    // A reader that went away is nobody to tell about it.
    if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
  }
  return 0;
}

async function runCommand(): Promise<number> {
  const { runProgram } = await import("./program.ts");
  return runProgram(argv);
}

try {
  process.exitCode = await (argv[0] === "--version" ? showVersion() : runCommand());
} catch (error) {
  // Standard output is full or broken: what was done is done, but nobody was told.
  console.error(`arcbox-agent: internal: ${String(error)}`);
  process.exitCode = 1;
}
