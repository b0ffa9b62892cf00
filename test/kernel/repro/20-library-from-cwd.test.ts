import { expect, test } from "bun:test";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { agent } from "../../kit/agent.ts";
import { command, tool } from "../../kit/command.ts";
import { GiB, MiB, writeAt } from "../../kit/image.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { traced } from "../../kit/trace.ts";
import { preparedDisk } from "../../kit/volume.ts";

const sandbox = useSandbox();

const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
const names = [
  "libc.so.6",
  "libc.so",
  `libc.musl-${machine}.so.1`,
  `ld-musl-${machine}.so.1`,
  "libblkid.so.1",
  "libblkid.so",
];

/** A folder that any user may write to, where libraries lie that note when they are run. */
function trap(box: Sandbox): { readonly folder: string; readonly wasRun: () => boolean } {
  const folder = box.folder("user");
  const noted = box.path("user", "noted");
  const source = box.path("trap.c");
  writeFileSync(
    source,
    `#include <fcntl.h>
     __attribute__((constructor)) static void run(void) { open("${noted}", O_CREAT, 0600); }`,
  );
  for (const name of names) {
    command("gcc", "-shared", "-fPIC", "-o", `${folder}/${name}`, source);
    chmodSync(`${folder}/${name}`, 0o755);
  }
  // Under this name a library and nothing else would be found.
  chmodSync(folder, 0o777);
  return { folder, wasRun: () => existsSync(noted) };
}

const commands = ["up", "plan", "status", "down"] as const;

test("nothing of the working directory is run, whatever the machine lacks", async () => {
  const box = sandbox();
  const { folder, wasRun } = trap(box);
  const { image, device } = box.disk(GiB);
  writeAt(image, 5000, new Uint8Array([1]));
  command("blockdev", "--flushbufs", device);
  // With bytes that nobody knows, names were once asked of a library.
  for (const what of commands) {
    await agent(["volume", what, "--root", box.root, "--device", device], { cwd: folder });
  }
  expect(wasRun()).toBeFalse();
});

test("an address space of 16 MiB is enough for a volume that is there", async () => {
  const box = sandbox();
  const { folder, wasRun } = trap(box);
  const { device } = await preparedDisk(box);
  const prefix = [tool("prlimit"), `--as=${16 * MiB}`];
  for (const what of ["plan", "up", "status", "down"]) {
    const args = ["volume", what, "--root", box.root, "--device", device];
    const run = await agent(args, { cwd: folder, prefix });
    expect([what, run.exitCode, run.stderr]).toEqual([what, 0, ""]);
  }
  expect(wasRun()).toBeFalse();
});

test("no file of the working directory is opened but those that are named", async () => {
  const box = sandbox();
  const { folder } = trap(box);
  const files = [".env", ".env.local", ".env.production", "bunfig.toml", ".bunfig.toml"];
  files.push(
    "package.json",
    "tsconfig.json",
    "jsconfig.json",
    ".npmrc",
    "node_modules/arg/index.js",
  );
  box.folder("user", "node_modules", "arg");
  for (const file of files) writeFileSync(`${folder}/${file}`, "{}");
  const { device } = box.disk(GiB);
  const trace = traced(box, "file", "--decode-fds=path");
  for (const what of commands) {
    const args = ["volume", what, "--root", box.root, "--device", device];
    const run = await agent(args, { cwd: folder, prefix: trace.prefix });
    expect(run.exitCode).toBe(0);
    const ofFolder = (call: string): boolean => {
      const [, relative = "/"] = call.split(`AT_FDCWD<${folder}>, "`);
      return call.includes(`"${folder}/`) || !relative.startsWith("/");
    };
    const touched = trace.calls().filter(ofFolder);
    expect(touched).toEqual([]);
  }
});
