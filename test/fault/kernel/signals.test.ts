import { afterAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { start, up, volume } from "../../kit/agent.ts";
import { command, tool } from "../../kit/command.ts";
import { depth } from "../../kit/depth.ts";
import { MiB } from "../../kit/image.ts";
import { callsOf, disturb } from "../../kit/inject.ts";
import { lockExclusively } from "../../kit/libc.ts";
import { replaceMkfs } from "../../kit/mkfs.ts";
import { everyPoint, sample } from "../../kit/points.ts";
import { parseReport } from "../../kit/report.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { expectRecovers, expectUp } from "../../kit/soundness.ts";
import { stageOf, upStages } from "../../kit/stages.ts";
import { traced } from "../../kit/trace.ts";
import { expectMounted, ourMounts, wantedMounts } from "../../kit/volume.ts";
import { observe } from "../../kit/world.ts";

const sandbox = useSandbox();

const MINUTES = 60_000;

/** What a shell gives as the status of a program that this signal ended. */
const statusOf = { INT: 130, TERM: 143, HUP: 129 } as const;
type SignalName = keyof typeof statusOf;
const signals: readonly SignalName[] = ["INT", "TERM", "HUP"];

let moments = 0;
afterAll(() => console.log(`a signal at ${moments} moments`));

/** Where there is most to leave half done. */
const starts = ["a blank disk", "a missing image", "a volume of which half is mounted"] as const;

/** Unlike SIGKILL these let the call that they come with be made first. */
test.each(depth([...starts], [...upStages]))(
  "a signal at any system call on %s ends it with all of the mounts or none, and the next run finishes",
  async (name) => {
    const stage = await stageOf(sandbox(), name);
    const points = sample(await callsOf(stage), depth(1, Number.POSITIVE_INFINITY));
    const trials = points.flatMap((call, index) =>
      signals
        .filter((_, place) => depth(place === index % signals.length, true))
        .map((signal) => ({ call, signal })),
    );
    await everyPoint(
      trials,
      ({ call, signal }) => `${signal}, ${call.label} ${call.occurrence}`,
      async ({ call, signal }) => {
        const { box, before } = stage;
        const { exitCode, stdout } = await disturb(stage, call, `signal=${signal}`);
        if (exitCode === 0) {
          expectUp(stage, parseReport(stdout));
        } else {
          expect(exitCode).toBe(statusOf[signal]);
          expect(stdout).toBe("");
          const states = [[...before().mounts], wantedMounts(box.root)].map((s) => s.sort());
          expect(states).toContainEqual(ourMounts(box).sort());
        }
        await expectRecovers(stage);
        moments += 1;
      },
    );
  },
  depth(2, 60) * MINUTES,
);

/** The first look at the lock, the first repetitions, and one much later. */
test.each(signals.flatMap((signal) => [1, 2, 3, 25].map((look) => ({ signal, look }))))(
  "SIG$signal at look $look at a lock that somebody holds ends the wait and changes nothing",
  async ({ signal, look }) => {
    const box = sandbox();
    const { device } = box.disk(256 * MiB);
    const unlock = lockExclusively(device);
    const before = observe(box);
    const { prefix } = traced(box, "flock", `--inject=flock:signal=${signal}:when=${look}`);
    const argv = ["volume", "up", "--json", "--device", device, "--root", box.root];
    const { exitCode, stdout } = await start(argv, { prefix }).done;
    expect(exitCode).toBe(statusOf[signal]);
    expect(stdout).toBe("");
    expect(observe(box).images).toEqual(before.images);
    expect(ourMounts(box)).toBeEmpty();
    unlock();
    await up(box, "--device", device);
  },
);

/** A mkfs that stops before its work and says which process it is; `go` lets it work. */
function heldMkfs(box: Sandbox): { readonly pid: () => Promise<number>; readonly go: string } {
  const go = box.path("gate");
  const pidFile = box.path("mkfs.pid");
  command("mkfifo", go);
  replaceMkfs(
    box,
    `[ -p '${go}' ] || exec "$REAL" "$@"
echo $$ > '${pidFile}.new' && mv '${pidFile}.new' '${pidFile}'
read -r word < '${go}' || exit 1
exec "$REAL" "$@"`,
  );
  const pid = async (): Promise<number> => {
    while (!existsSync(pidFile)) await Bun.sleep(2);
    const found = Number(readFileSync(pidFile, "utf8"));
    box.onEnd(() => isAlive(found) && process.kill(found, "SIGKILL"));
    return found;
  };
  return { pid, go };
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // One that nobody has waited for has ended too.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s on a terminal, which reaches mkfs too, leaves a format that the next run finishes",
  async (signal) => {
    const box = sandbox();
    const { device } = box.disk(256 * MiB);
    const mkfs = heldMkfs(box);
    const argv = ["volume", "up", "--device", device, "--root", box.root];
    // Its own session, and so its own process group.
    const { child, done } = start(argv, { prefix: [tool("setsid")] });
    const mkfsPid = await mkfs.pid();
    process.kill(-child.pid, signal);
    expect((await done).exitCode).not.toBe(0);
    while (isAlive(mkfsPid)) await Bun.sleep(2);
    expect(ourMounts(box)).toBeEmpty();
    command("rm", mkfs.go);
    expect((await up(box, "--device", device)).verdict).toBe("interrupted");
    expectMounted(box.root);
  },
);

test("the next run starts no second mkfs while the first still runs without its parent", async () => {
  const box = sandbox();
  const { device } = box.disk(256 * MiB);
  const mkfs = heldMkfs(box);
  const first = start(["volume", "up", "--device", device, "--root", box.root]);
  const mkfsPid = await mkfs.pid();
  first.child.kill("SIGINT");
  await first.done;
  expect(isAlive(mkfsPid)).toBeTrue();
  command("rm", `${box.path("mkfs.pid")}`);
  const others = [1, 2, 3].map(() => volume(box, "up", ["--device", device]));
  const winner = await Promise.race([
    ...others.map((other) => other.then(() => "up")),
    Bun.sleep(500).then(() => "nobody"),
  ]);
  expect(winner).toBe("nobody");
  // Nobody has come as far as mkfs, and the disk bears nothing but the record.
  expect(existsSync(box.path("mkfs.pid"))).toBeFalse();
  await Bun.write(mkfs.go, "go\n");
  command("rm", mkfs.go);
  const reports = (await Promise.all(others)).map(({ report }) => report);
  expect(reports.map(({ error }) => error)).toEqual([null, null, null]);
  expect(new Set(reports.map(({ uuid }) => uuid)).size).toBe(1);
  // The orphan finished the format: its record was still there, but the filesystem is sound.
  expect(reports.map(({ verdict }) => verdict)).toContain("btrfs");
  expectMounted(box.root);
});
