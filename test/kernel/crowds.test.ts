import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { agentPath } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { compiled } from "../kit/compiled.ts";
import { depth } from "../kit/depth.ts";
import { MiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { dockerOf } from "../kit/volume.ts";

/** More of something than anybody needs, which a user without any right may make. */
const sandbox = useSandbox();

const LIMIT_MS = 5000;
const LIMIT_BYTES = 64 * MiB;

const TABLE_BYTES = depth(16 * MiB, 64 * MiB);
const NAMES = depth(200_000, 1_000_000);
const LOCKS = depth(100_000, 200_000);
const THREADS = 20_000;

/** Runs all four commands, each within its limits of time and of memory; `exitCodes` in their order. */
async function expectBounded(
  box: Sandbox,
  args: readonly string[],
  exitCodes: readonly number[] = [0, 0, 0, 0],
  prefix: readonly string[] = [],
): Promise<void> {
  for (const [index, name] of ["plan", "up", "status", "down"].entries()) {
    const began = performance.now();
    const peak = box.path("peak");
    const argv = [peakOf(box), peak, ...prefix, agentPath, "volume", name, ...args];
    const child = Bun.spawn(argv, { stdout: "ignore", stderr: "pipe" });
    const said = await new Response(child.stderr).text();
    expect([name, await child.exited, said]).toEqual([name, exitCodes[index] ?? 0, said]);
    expect(performance.now() - began).toBeLessThan(LIMIT_MS);
    expect(Number(readFileSync(peak, "utf8")) * 1024).toBeLessThan(LIMIT_BYTES);
  }
}

const peakOf = (box: Sandbox): string =>
  existsSync(box.path("peak-of")) ? box.path("peak-of") : compiled(box, "peak", "peak-of");

const crowd = (box: Sandbox, what: string, at: string, count: number) =>
  box.spawnUntilReady([compiled(box, "crowd", `crowd ${what}`), what, at, String(count)]);

const diskOf = (box: Sandbox): readonly string[] => [
  ...["--device", box.disk(300 * MiB).device],
  ...["--root", box.root],
];

test("the mount table of another namespace may be of tens of MiB", async () => {
  const box = sandbox();
  const { pid } = await crowd(box, "mounts", box.folder("many"), TABLE_BYTES);
  expect(readFileSync(`/proc/${pid}/mountinfo`).length).toBeGreaterThan(TABLE_BYTES);
  await expectBounded(box, diskOf(box));
});

test("and so may our own", async () => {
  const box = sandbox();
  const { pid } = await crowd(box, "mounts", box.folder("many"), TABLE_BYTES);
  const enter = [tool("nsenter"), "--mount", `--target=${pid}`];
  await expectBounded(box, diskOf(box), [0, 0, 0, 0], enter);
});

test("somebody may hold more locks than there is time to read of", async () => {
  const box = sandbox();
  await crowd(box, "locks", box.folder("locked"), LOCKS);
  await expectBounded(box, diskOf(box));
  await expectBounded(box, ["--image", box.path("new.img"), "--size", "300M", "--root", box.root]);
});

test("a process may have more threads and open files than anybody needs", async () => {
  const box = sandbox();
  const [, most] =
    /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  await crowd(box, "threads", box.folder("threads"), THREADS);
  await crowd(box, "descriptors", box.image(MiB), Math.min(1_000_000, Number(most)) - 20);
  await expectBounded(box, diskOf(box));
});

test("a folder may have a million names: that of an image, a root, a mount point", async () => {
  const box = sandbox();
  const folder = box.mount("many", "many", "-t", "tmpfs");
  const names = join(folder, "names");
  mkdirSync(names);
  command(compiled(box, "crowd"), "names", names, String(NAMES));
  await expectBounded(
    box,
    ["--image", join(names, "a.img"), "--size", "300M", "--root", box.root],
    [0, 0, 0, 0],
  );
  const [device, disk] = diskOf(box);
  await expectBounded(box, [device ?? "", disk ?? "", "--root", names]);
  const root = join(folder, "root");
  mkdirSync(join(root, "var/lib"), { recursive: true });
  renameSync(names, join(root, "var/lib/docker"));
  await expectBounded(box, [device ?? "", disk ?? "", "--root", root], [7, 7, 0, 0]);
});

test("and so may a directory of databases", async () => {
  const box = sandbox();
  const args = diskOf(box);
  command(agentPath, "volume", "up", ...args);
  command(
    compiled(box, "crowd"),
    "names",
    join(dockerOf(box), "network/files"),
    String(depth(50_000, 250_000)),
  );
  command("sync", "--file-system", dockerOf(box));
  await expectBounded(box, args);
});
