import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import packageJson from "../../package.json";
import { command, tool } from "../kit/command.ts";
import { type Runtime, runtime, runtimes, type Said, said } from "../kit/runtimes.ts";

const project = join(import.meta.dir, "..", "..");
const MOST_BYTES = 6_000_000;
/** The first build for the other architecture compiles the engine. */
const PACK_TIMEOUT_MS = 300_000;

let folder = "";

/** npm as on a machine without a network, of whose cache it may use nothing. */
const npm = (cwd: string, words: readonly string[], path = process.env.PATH ?? ""): Promise<Said> =>
  said([tool("npm"), ...words, "--offline", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd,
    env: { PATH: path, npm_config_cache: join(folder, "cache") },
  });

const pack = (target: string, path?: string): Promise<Said> =>
  npm(project, ["pack", `--pack-destination=${target}`], path);

function folderOf(...parts: readonly string[]): string {
  const path = join(folder, ...parts);
  mkdirSync(path, { recursive: true });
  return path;
}

/** A program of the test's own, found before the machine's. */
function pathWith(name: string, script: string): string {
  const bin = folderOf(`only-${name}`);
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return `${bin}:${process.env.PATH}`;
}

const tarball = (): string => join(folder, `arcbox-agent-${packageJson.version}.tgz`);
const consumer = (): string => join(folder, "consumer");
const installed = (...parts: readonly string[]): string =>
  join(consumer(), "node_modules", "arcbox-agent", ...parts);

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "arcbox-package-")));
  const packed = await pack(folder);
  if (packed.exitCode !== 0) throw new Error(`npm pack: ${packed.stdout}${packed.stderr}`);
  writeFileSync(join(folderOf("consumer"), "package.json"), '{"private":true,"type":"module"}');
  const done = await npm(consumer(), ["install", tarball()]);
  if (done.exitCode !== 0) throw new Error(`npm install: ${done.stdout}${done.stderr}`);
}, PACK_TIMEOUT_MS);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the tarball", () => {
  test("has the library, its addons, the executables, the manual, and nothing else", () => {
    const files = command("tar", "-tzf", tarball()).trim().split("\n");
    const others = files.filter((file) => !/^package\/dist\/library\/.+\.(d\.ts|js)$/.test(file));
    expect(others.sort()).toEqual([
      "package/LICENSE-APACHE",
      "package/LICENSE-MIT",
      "package/README.md",
      "package/dist/COPYRIGHT",
      "package/dist/addon/linux-arm64.node",
      "package/dist/addon/linux-x64.node",
      "package/dist/executable/linux-arm64/arcbox-agent",
      "package/dist/executable/linux-x64/arcbox-agent",
      "package/man/arcbox-agent.8",
      "package/native/addon.js",
      "package/package.json",
      "package/packaging/npm/arcbox-agent",
    ]);
    for (const { types, default: script } of Object.values(packageJson.exports)) {
      expect(files).toContain(join("package", types));
      expect(files).toContain(join("package", script));
    }
    expect(statSync(tarball()).size).toBeLessThan(MOST_BYTES);
  });

  test("has each part for the processor that its name says", () => {
    const machines = { x64: "X86-64", arm64: "AArch64" };
    for (const [architecture, machine] of Object.entries(machines)) {
      const parts = [
        installed(`dist/addon/linux-${architecture}.node`),
        installed(`dist/executable/linux-${architecture}/arcbox-agent`),
      ];
      for (const part of parts) expect(command("readelf", "-h", part)).toContain(machine);
    }
  });

  test("brings no other package", () => {
    const names = readdirSync(join(consumer(), "node_modules")).sort();
    expect(names).toEqual([".bin", ".package-lock.json", "arcbox-agent"]);
  });

  test("names who has rights in what is bundled and linked", () => {
    const text = readFileSync(installed("dist/COPYRIGHT"), "utf8");
    for (const name of ["qjs-src", "musl-dev", "arg", "valibot", "@noble/hashes", "xxhashjs"]) {
      expect(text).toMatch(new RegExp(`^${name} .*\\(`, "m"));
    }
  });

  test("is not made when a part cannot be", async () => {
    const target = folderOf("none");
    const other = process.arch === "arm64" ? "x86_64" : "aarch64";
    const compiler = `${other}-linux-gnu-gcc`;
    const packed = await pack(target, pathWith(compiler, "exit 1"));
    expect(packed.exitCode).not.toBe(0);
    expect(`${packed.stdout}${packed.stderr}`).toContain(`prepack: ${compiler} failed`);
    expect(readdirSync(target)).toEqual([]);
  });
});

const uses = `
  import assert from "node:assert/strict";
  import * as btrfs from "arcbox-agent/btrfs";
  import * as volume from "arcbox-agent/volume";
  const place = process.cwd();
  const report = volume.plan({ image: place + "/none.img", sizeBytes: 2 ** 30, root: place + "/root" });
  assert.equal(report.error, undefined);
  assert.equal(report.outcome, "changed");
  assert.equal(volume.exitStatusOf.busy, 8);
  assert.throws(() => btrfs.subvolumeInfo(place + "/none"), (error) => {
    const { code, errno, syscall, path } = error;
    assert.deepEqual([code, errno, syscall, path], ["ENOENT", -2, "openat", place + "/none"]);
    return error instanceof btrfs.SystemError && error instanceof Error;
  });`;

describe("in an empty project", () => {
  test("node --test uses both entry points", async () => {
    writeFileSync(join(consumer(), "node.test.mjs"), `import "node:test";${uses}`);
    const run = await said([tool("node"), "--test", "node.test.mjs"], { cwd: consumer() });
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(run.stdout).toMatch(/^# pass 1$/m);
  });

  test("bun test uses both entry points", async () => {
    const text = `import { test } from "bun:test";${uses}\ntest("loaded", () => {});`;
    writeFileSync(join(consumer(), "bun.test.ts"), text);
    const run = await said([process.execPath, "test", "bun.test.ts"], { cwd: consumer() });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toContain(" 1 pass\n");
  });

  test.each([
    ["nodenext", "nodenext"],
    ["preserve", "bundler"],
  ])(
    "tsc finds the types, with module %s and resolution %s, strict",
    async (module, resolution) => {
      const home = folderOf("consumer", resolution);
      const options = {
        ...{ module, moduleResolution: resolution, target: "es2022", lib: ["es2022"], types: [] },
        ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true },
      };
      writeFileSync(join(home, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
      writeFileSync(
        join(home, "use.ts"),
        `import * as btrfs from "arcbox-agent/btrfs";
       import { type Report, type VolumeOptions, status, up } from "arcbox-agent/volume";
       const options: VolumeOptions = { image: "/a.img", sizeBytes: 1024 };
       const report: Report = up(options);
       export const code: "busy" | "usage" | undefined =
         report.error?.code === "busy" ? report.error.code : undefined;
       export const state: string = status(options).state;
       export const bytes: bigint | undefined = btrfs.deviceInfo("/")?.totalBytes;
       export const told = (error: unknown): [string, number, string, string] | undefined =>
         error instanceof btrfs.SystemError
           ? [error.code, error.errno, error.syscall, error.path]
           : undefined;
       // @ts-expect-error A number is no device: the types are there.
       up({ device: 5 });
      `,
      );
      const compiler = join(project, "node_modules/.bin/tsc");
      const run = await said([compiler, "-p", home], { cwd: consumer() });
      expect(run).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    },
  );

  test("the command is the executable for this processor, by whatever name it is called", async () => {
    const bin = join(consumer(), "node_modules/.bin");
    const wanted = { exitCode: 0, stdout: `arcbox-agent ${packageJson.version}\n`, stderr: "" };
    expect(await said([join(bin, "arcbox-agent"), "--version"])).toEqual(wanted);
    const env = { PATH: `${bin}:${process.env.PATH}` };
    expect(await said([tool("env"), "arcbox-agent", "--version"], { env })).toEqual(wanted);
    expect(await said(["./arcbox-agent", "--version"], { cwd: bin })).toEqual(wanted);
    const wrong = await said([join(bin, "arcbox-agent"), "volume", "up", "two words", ""]);
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("two words");
  });

  test("the command says where it runs, on another processor", async () => {
    const env = { PATH: pathWith("uname", 'echo "Linux riscv64"') };
    const run = await said([installed("packaging/npm/arcbox-agent"), "--version"], { env });
    expect(run).toEqual({
      exitCode: 9,
      stdout: "",
      stderr: "arcbox-agent: it runs on Linux on x86-64 and arm64, and this is Linux riscv64\n",
    });
  });
});

/** What an import says where `process` has these properties. */
async function refusal(name: Runtime, root: string, fake: object): Promise<string> {
  const script = join(root, "refused.mjs");
  writeFileSync(
    script,
    `for (const [name, value] of Object.entries(${JSON.stringify(fake)}))
       Object.defineProperty(process, name, { value });
     await import("arcbox-agent/btrfs").then(() => "", ({ message }) => console.log(message));`,
  );
  const run = await said([runtime(name), script]);
  expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  return run.stdout;
}

describe.each(runtimes)("where the library cannot work, %s", (name) => {
  test.each([
    [{ platform: "darwin", arch: "arm64" }, "darwin on arm64"],
    [{ platform: "linux", arch: "riscv64" }, "linux on riscv64"],
  ])("says so in one sentence on %j", async (fake, what) => {
    const message = `arcbox-agent runs on Linux on x64 and arm64, and this is ${what}\n`;
    expect(await refusal(name, consumer(), fake)).toBe(message);
  });

  test("says in one sentence that the addon does not load, or is missing", async () => {
    const root = folderOf(`broken-${name}`);
    cpSync(consumer(), root, { recursive: true });
    const addon = join(root, `node_modules/arcbox-agent/dist/addon/linux-${process.arch}.node`);
    // The loader refuses it, as one without glibc does.
    const other = process.arch === "arm64" ? "x64" : "arm64";
    copyFileSync(installed(`dist/addon/linux-${other}.node`), addon);
    expect(await refusal(name, root, {})).toMatch(
      /^arcbox-agent as a library needs glibc, and its addon does not load here: .+\n$/,
    );
    rmSync(addon);
    expect(await refusal(name, root, {})).toBe(
      `arcbox-agent is not whole, because ${addon} is missing: install it anew\n`,
    );
  });
});
