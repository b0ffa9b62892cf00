import type { Kernel } from "../../src/linux/kernel.ts";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Errno, SystemError } from "../../src/linux/errno.ts";
import { OverridableKernel } from "../kit/overridable-kernel.ts";
import * as plans from "../../src/volume/plan.ts";
import { fails, plan, reported, start, succeeds, up, volume } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { GiB, nonZeroBlocks } from "../kit/image.ts";
import { addToCommandLine } from "../kit/kernel-command-line.ts";
import { makeNode } from "../kit/own-dev.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted, ourMounts, preparedDisk } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

interface Appearance {
  readonly how: string;
  readonly before?: (box: Sandbox) => void;
  readonly appear: (path: string, device: string, box: Sandbox) => void;
}

const appearances: readonly Appearance[] = [
  { how: "is made", appear: (path, device) => makeNode(path, device) },
  { how: "is a symbolic link", appear: (path, device) => symlinkSync(device, path) },
  {
    how: "is renamed into place",
    appear: (path, device) => {
      makeNode(`${path}.new`, device);
      renameSync(`${path}.new`, path);
    },
  },
  {
    how: "appears together with its folder",
    before: (box) => command("rmdir", box.folder("dev")),
    appear: (path, device, box) => {
      mkdirSync(box.path("dev"));
      makeNode(path, device);
    },
  },
  {
    how: "replaces a dangling link",
    before: (box) => symlinkSync(box.path("later"), box.path("dev", "data")),
    appear: (_, device, box) => makeNode(box.path("later"), device),
  },
];

/** Long enough for the agent to have looked and begun to wait; either order has to work. */
const HEAD_START_MS = 200;
const SOON_MS = 3000;

test.each(appearances.map((appearance) => [appearance.how, appearance] as const))(
  "a disk node that %s during the wait is used at once",
  async (_, { before, appear }) => {
    const box = sandbox();
    const { device } = await preparedDisk(box);
    const path = join(box.folder("dev"), "data");
    before?.(box);
    const args = ["volume", "up", "--json", "--root", box.root, "--device", path, "--wait", "30"];
    const running = reported("up", start(args).done);
    await Bun.sleep(HEAD_START_MS);
    const appeared = performance.now();
    appear(path, device, box);
    await succeeds(running);
    expect(performance.now() - appeared).toBeLessThan(SOON_MS);
    expectMounted(box.root);
  },
);

/** Of a user namespace of its own, in which no inotify instance is left. */
const withoutInotify = [
  ...[tool("unshare"), "--user", "--map-root-user", "sh", "-c"],
  'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"',
  "sh",
];

test("where no inotify instance is left, a disk is waited for all the same, and the report says how", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const path = join(box.folder("dev"), "data");
  const options = { prefix: withoutInotify };
  const none = await fails(
    volume(box, "plan", ["--device", path, "--wait", "0.3"], options),
    "device-missing",
  );
  expect(none.message).toContain("within 0.3 s");
  expect(none.report.notes.join()).toMatch(/looking every \d+ ms.*inotify/);
  const running = volume(box, "plan", ["--device", path, "--wait", "30"], options);
  await Bun.sleep(HEAD_START_MS);
  const appeared = performance.now();
  symlinkSync(device, path);
  const report = await succeeds(running);
  expect(performance.now() - appeared).toBeLessThan(SOON_MS);
  expect(report).toMatchObject({ device: path, verdict: "btrfs" });
  expect(report.notes.join()).toMatch(/inotify/);
  // Nothing is to be said of a disk that is there.
  const there = await succeeds(volume(box, "plan", ["--device", path], options));
  expect(there.notes).toEqual([]);
});

class Deaf extends OverridableKernel {
  readonly #refused: ReadonlySet<string>;

  constructor(...refused: readonly string[]) {
    super();
    this.#refused = new Set(refused);
  }

  #refuse(call: string, errno: number): void {
    if (this.#refused.has(call)) throw new SystemError(call, errno);
  }

  override openInotify(): number {
    this.#refuse("inotify_init1", Errno.EMFILE);
    return super.openInotify();
  }

  override openUevents(): number {
    this.#refuse("socket", Errno.EACCES);
    return super.openUevents();
  }

  override watchDirectory(...args: Parameters<Kernel["watchDirectory"]>): void {
    this.#refuse("inotify_add_watch", Errno.ENOSPC);
    super.watchDirectory(...args);
  }
}

test.each([
  [["inotify_init1"]],
  [["socket"]],
  [["inotify_add_watch"]],
  [["inotify_init1", "socket"]],
])(
  "a wait without %p looks again and again, ends in time, and leaves nothing open",
  async (refused) => {
    const box = sandbox();
    const kernel = new Deaf(...refused);
    const open = () => readdirSync("/proc/self/fd").length;
    const before = open();
    const report = plans.plan(kernel, { device: box.path("none"), waitMs: 200 }, () => undefined);
    expect(report.error?.code).toBe("device-missing");
    expect(report.ms).toBeWithin(190, 2000);
    expect(report.notes).toHaveLength(1);
    expect(report.notes.join()).toMatch(/looking every \d+ ms/);
    expect(open()).toBe(before);
  },
);

test("a node without a medium is waited for until the medium is there", async () => {
  const box = sandbox();
  const { image, device: prepared } = await preparedDisk(box);
  box.detach(prepared);
  const device = box.emptyLoop();
  const running = volume(box, "up", ["--device", device, "--wait", "30"]);
  await Bun.sleep(HEAD_START_MS);
  const appeared = performance.now();
  command("losetup", device, image);
  await succeeds(running);
  expect(performance.now() - appeared).toBeLessThan(SOON_MS);
});

test("a node that stays without a medium is missing, and the message says so", async () => {
  const box = sandbox();
  const device = box.emptyLoop();
  const error = await fails(
    volume(box, "up", ["--device", device, "--wait", "0.2"]),
    "device-missing",
  );
  expect(error.message).toContain(device);
  expect(`${error.message} ${error.hint}`).toMatch(/medium|size|empty/i);
});

test("--wait takes fractions, and 0 does not wait", async () => {
  const box = sandbox();
  const path = box.path("none");
  const none = await volume(box, "up", ["--device", path, "--wait", "0"]);
  expect(none.report.error?.code).toBe("device-missing");
  expect(none.exitCode).toBe(3);
  expect(none.report.error?.message).toContain(path);
  expect(none.report.ms).toBeLessThan(100);
  const some = await volume(box, "up", ["--device", path, "--wait", "0.3"]);
  expect(some.report.error?.code).toBe("device-missing");
  expect(some.report.ms).toBeGreaterThanOrEqual(290);
  expect(some.report.ms).toBeLessThan(2000);
});

test("the wait ends on Ctrl-C", async () => {
  const box = sandbox();
  const { child, done } = start(["volume", "up", "--device", box.path("none"), "--wait", "50"]);
  await Bun.sleep(HEAD_START_MS);
  child.kill("SIGINT");
  const { exitCode, ms } = await done;
  expect(exitCode).not.toBe(0);
  expect(ms).toBeLessThan(5000);
});

/** What opens nothing, and never will. */
function socketIn(box: Sandbox): string {
  const path = box.path("socket");
  command(
    "python3",
    "-c",
    "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
    path,
  );
  return path;
}

test.each<[string, (box: Sandbox) => string, string]>([
  ["a directory", (box) => box.folder("folder"), "not-a-block-device"],
  ["a regular file", (box) => box.image(GiB, "file.img"), "not-a-block-device"],
  ["a character device", () => "/dev/null", "not-a-block-device"],
  ["a socket", socketIn, "not-a-block-device"],
  ["a missing path", (box) => box.path("none"), "device-missing"],
  [
    "a dangling link",
    (box) => {
      symlinkSync(box.path("none"), box.path("link"));
      return box.path("link");
    },
    "device-missing",
  ],
  [
    "a path below a file",
    (box) => {
      writeFileSync(box.path("file"), "");
      return box.path("file", "disk");
    },
    "device-missing",
  ],
])("%s as --device is refused, and named", async (_, make, code) => {
  const box = sandbox();
  const path = make(box);
  const before = observe(box);
  for (const verb of ["plan", "up"] as const) {
    const error = await fails(volume(box, verb, ["--device", path, "--wait", "0"]), code);
    expect(error.message).toContain(path);
  }
  expect(observe(box).images).toEqual(before.images);
  expect(ourMounts(box)).toBeEmpty();
});

test.each([
  ["first-wins", (device: string, other: string) => `${KEY}${device} ${KEY}${other}`],
  [
    "an empty one is passed over",
    (device: string, other: string) => `${KEY} ${KEY}${device} ${KEY}${other}`,
  ],
  [
    "a word that only ends like the key",
    (device: string, other: string) => `x${KEY}${other} ${KEY}${device}`,
  ],
])("the kernel command line names the disk: %s", async (_, words) => {
  const box = sandbox();
  const [wanted, other] = [box.disk(GiB).device, box.disk(GiB).device];
  addToCommandLine(box, words(wanted, other));
  const report = await up(box);
  expect(report.device).toBe(wanted);
  expectMounted(box.root);
});

const KEY = "arcbox.docker_data_device=";

test("--device beats the kernel command line", async () => {
  const box = sandbox();
  const [wanted, other] = [box.disk(GiB).device, box.disk(GiB).device];
  addToCommandLine(box, `${KEY}${other}`);
  expect((await plan(box, "--device", wanted)).device).toBe(wanted);
});

test("--image beats the kernel command line", async () => {
  const box = sandbox();
  addToCommandLine(box, `${KEY}${box.path("none")}`);
  const report = await up(box, "--image", box.path("disk.img"), "--size", "1G");
  expect(report.bytes).toBe(GiB);
});

test("a disk that the kernel command line names and that is not there is missing", async () => {
  const box = sandbox();
  addToCommandLine(box, `${KEY}${box.path("none")}`);
  const error = await fails(volume(box, "up", ["--wait", "0"]), "device-missing");
  expect(error.message).toContain(box.path("none"));
});

test.each([
  [["arcboxhvc1", "vdb"], "/dev/arcboxhvc1"],
  [["vdb"], "/dev/vdb"],
  [[], undefined],
])("with the nodes %p the default disk is %p", async (nodes, expected) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const dev = box.mount("tmpfs", "fake-dev", "-t", "tmpfs");
  for (const name of ["null", "zero", "urandom", "random", "btrfs-control", "loop-control"]) {
    command("cp", "--archive", `/dev/${name}`, dev);
  }
  for (const name of nodes) makeNode(join(dev, name), device);
  const prefix = [tool("unshare"), "--mount", "--propagation", "private", "sh", "-c"];
  const inside = `mount --bind '${dev}' /dev && exec "$@"`;
  const run = volume(box, "plan", ["--wait", "0"], { prefix: [...prefix, inside, "sh"] });
  if (expected === undefined) {
    const error = await fails(run, "device-missing");
    expect(error.message).toContain("/dev/vdb");
  } else {
    expect((await succeeds(run)).device).toBe(expected);
  }
});

test("without /sys every command says so, and nothing is written", async () => {
  const box = sandbox();
  const { device, image } = box.disk(GiB);
  const prefix = [tool("unshare"), "--mount", "sh", "-c", 'umount --lazy /sys && exec "$@"', "sh"];
  for (const word of ["up", "plan", "down"] as const) {
    for (const disk of [
      ["--device", device],
      ["--image", image],
    ]) {
      const { message } = await fails(volume(box, word, disk, { prefix }), "unsupported");
      expect(message).toContain("/sys is not mounted");
    }
  }
  expect(nonZeroBlocks(image)).toBeEmpty();
});
