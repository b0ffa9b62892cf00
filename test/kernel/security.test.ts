import { expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Subprocess } from "bun";
import { down, up, volume } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { depth } from "../kit/depth.ts";
import { GiB, nonZeroBlocks } from "../kit/image.ts";
import { replaceMkfs } from "../kit/mkfs.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { expectRefused } from "../kit/refusal.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted, layout, markerIsThere, ourMounts, preparedDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

const places = ["/run/arcbox/data", ...layout.map(({ path }) => path)];

/** Everything that is not below --root: names, and mounts. */
const outsideOf = (box: Sandbox): readonly string[] => [
  ...new Bun.Glob("outside/**/*").scanSync({ cwd: box.dir, onlyFiles: false, dot: true }),
  ...mountsUnder(box.dir)
    .filter(({ path }) => !path.startsWith(`${box.root}/`))
    .map(({ type, path }) => `${type} at ${path}`),
];

/** A folder beside --root with the same places in it, two of them mounted on by somebody. */
function makeOutside(box: Sandbox): string {
  const outside = box.folder("outside");
  for (const path of places) {
    mkdirSync(join(outside, path), { recursive: true });
    mkdirSync(join(box.root, path), { recursive: true });
  }
  box.mount("tmpfs", "outside/run/arcbox/data", "-t", "tmpfs");
  box.mount("tmpfs", "outside/var/lib/docker", "-t", "tmpfs");
  return outside;
}

/** Swaps two names until it is ended. */
const racing = (box: Sandbox, one: string, other: string): Promise<Subprocess> =>
  box.spawnUntilReady([process.execPath, join(import.meta.dir, "../kit/racer.ts"), one, other]);

/** Stops it, and returns when it has stopped. */
function holdStill(racer: Subprocess): void {
  racer.kill("SIGSTOP");
  const state = (): string => readFileSync(`/proc/${racer.pid}/stat`, "utf8").split(") ")[1] ?? "";
  while (!state().startsWith("T")) Bun.sleepSync(1);
}

test.each(depth(["run", "var/lib"], ["run", "run/arcbox", "var", "var/lib"]))(
  "a directory (%s) that is swapped for a link again and again leads nothing out of --root",
  async (swapped) => {
    const box = sandbox();
    const { device } = await preparedDisk(box);
    const link = join(box.root, "link");
    symlinkSync(join(makeOutside(box), swapped), link);
    const before = outsideOf(box);

    const racer = await racing(box, join(box.root, swapped), link);
    for (let run = 0; run < depth(8, 200); run++) {
      const had = mountsUnder(box.root).length;
      const { report } = await volume(box, "up", ["--device", device]);
      expect(outsideOf(box)).toEqual(before);
      // All of it, or as it was.
      expect(mountsUnder(box.root)).toHaveLength(report.error === null ? 6 : had);
      await volume(box, "down", ["--device", device]);
      expect(outsideOf(box)).toEqual(before);
    }
    racer.kill("SIGTERM");
    expect(await racer.exited).toBe(0);
    await up(box, "--device", device);
    expectMounted(box.root);
    expect(markerIsThere(box)).toBeTrue();
  },
  depth(60_000, 1_800_000),
);

type Plant = (place: string, box: Sandbox) => void;

const plants: readonly (readonly [string, Plant])[] = [
  ["a link out of --root", (place, box) => symlinkSync(box.folder("outside"), place)],
  ["a link to nothing", (place, box) => symlinkSync(box.path("outside", "nothing"), place)],
  ["a link to itself", (place) => symlinkSync(place, place)],
  ["a FIFO", (place) => command("mkfifo", place)],
  ["a device node", (place) => command("mknod", place, "c", "1", "3")],
  ["a file", (place) => writeFileSync(place, "")],
  [
    "a hard link to somebody's file",
    (place, box) => {
      box.folder("outside");
      writeFileSync(box.path("outside", "file"), "somebody's");
      linkSync(box.path("outside", "file"), place);
    },
  ],
];

const planted = ["run", "run/arcbox", "run/arcbox/data", "var/lib", "var/lib/docker"].flatMap(
  (place, i) =>
    plants
      .filter((_, j) => depth((i + j) % 4 === 0, true))
      .map(([what, plant]) => [what, place, plant] as const),
);

test.each(planted)(
  "%s at %s is refused, and nothing is made behind it",
  async (_, place, plant) => {
    const box = sandbox();
    box.folder("outside");
    const { device, image } = box.disk(GiB);
    mkdirSync(dirname(join(box.root, place)), { recursive: true });
    plant(join(box.root, place), box);
    const before = outsideOf(box);
    await expectRefused(box, ["--device", device], {
      code: "target-occupied",
      names: [/is not a dir/],
    });
    expect(outsideOf(box)).toEqual(before);
    expect(nonZeroBlocks(image)).toBeEmpty();
    expect(ourMounts(box)).toBeEmpty();
  },
);

test.each(plants.filter(([what]) => what !== "a file"))(
  "%s as --image is refused, and is still there",
  async (_, plant) => {
    const box = sandbox();
    const image = box.path("planted");
    plant(image, box);
    const before = lstatSync(image);
    await expectRefused(box, ["--image", image, "--size", "1G"], {
      code: ["usage", "too-small", "unknown", "device-missing"],
      names: ["planted"],
    });
    const after = lstatSync(image);
    expect([after.ino, after.size, after.mode]).toEqual([before.ino, before.size, before.mode]);
    expect(outsideOf(box)).not.toContain("outside/nothing");
  },
);

const below = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));

test.each(["0", "0777"])(
  "with umask %s an image is for its owner alone, and no folder for all",
  async (mask) => {
    const box = sandbox();
    const image = box.path("disk.img");
    const prefix = [tool("sh"), "-c", `umask ${mask}; exec "$@"`, "sh"];
    const args = ["--image", image, "--size", "1G"];
    const { report } = await volume(box, "up", args, { prefix });
    expect(report.error).toBeNull();
    expect(lstatSync(image).mode & 0o7777).toBe(0o600);
    const made = [box.root, ...below(box.root)].map((path) => [
      path,
      lstatSync(path).mode & 0o7777,
    ]);
    expect(made.length).toBeGreaterThan(20);
    // Databases that are made beforehand are files for root alone.
    expect(made.filter(([, mode]) => ![0o755, 0o700, 0o600].includes(Number(mode)))).toEqual([]);
    await down(box, "--image", image);
    const points = below(box.root).filter((path) => (lstatSync(path).mode & 0o7777) !== 0o755);
    expect(points).toEqual([join(box.root, "run/arcbox")]);
    expect(lstatSync(join(box.root, "run/arcbox")).mode & 0o7777).toBe(0o700);
  },
);

test("mkfs.btrfs sees nothing of the caller: no variable, and no descriptor but the lock's", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const seen = box.folder("seen");
  replaceMkfs(
    box,
    `tr '\\0' '\\n' < /proc/$$/environ > ${seen}/environment
for fd in /proc/$$/fd/*; do echo "$(readlink $fd)"; done > ${seen}/descriptors
pwd > ${seen}/folder
exec "$REAL" "$@"`,
  );
  const variables = ["SECRET=1", "LD_LIBRARY_PATH=/nowhere", "BASH_ENV=/nowhere", "LC_ALL=xx"];
  const prefix = [
    tool("bash"),
    "-c",
    // Descriptors of the caller that it forgot to close.
    'exec 7</etc/passwd 8</etc/hostname; exec "$@"',
    "bash",
    tool("env"),
    ...variables,
  ];
  const { report } = await volume(box, "up", ["--device", device], { prefix });
  expect(report.error).toBeNull();
  const lines = (name: string): string[] =>
    readFileSync(join(seen, name), "utf8").trim().split("\n").sort();
  expect(lines("environment")).toEqual(["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
  const isPipe = (target: string): boolean => /^(pipe|socket|\/memfd)/.test(target);
  const scripts = (target: string): boolean => target.endsWith("mkfs.btrfs");
  const others = lines("descriptors").filter((target) => !isPipe(target) && !scripts(target));
  // The shell's own for the redirection of its list is among them.
  expect(others.filter((target) => !target.startsWith(seen))).toEqual([device]);
});

test.each([
  ["a folder where everybody may write", 0o1777, 0o755],
  ["a program that everybody may change", 0o755, 0o777],
])("mkfs.btrfs is not taken from %s", async (_, folderMode, fileMode) => {
  const box = sandbox();
  const folder = box.folder("bin");
  const trap = box.path("trapped");
  writeFileSync(join(folder, "mkfs.btrfs"), `#!/bin/sh\ntouch '${trap}'\nexit 1\n`);
  chmodSync(join(folder, "mkfs.btrfs"), fileMode);
  chmodSync(folder, folderMode);
  const path = `${folder}:${process.env.PATH}`;
  const { report } = await volume(box, "up", ["--device", box.disk(GiB).device], { path });
  expect(report.error).toBeNull();
  expect(readdirSync(box.dir)).not.toContain("trapped");
});

test("mkfs.btrfs is not taken from where one stands", async () => {
  const box = sandbox();
  const folder = box.folder("here");
  writeFileSync(join(folder, "mkfs.btrfs"), `#!/bin/sh\ntouch '${box.path("trapped")}'\nexit 1\n`);
  chmodSync(join(folder, "mkfs.btrfs"), 0o755);
  const path = `.::${process.env.PATH}:here`;
  const options = { path, cwd: folder };
  const { report } = await volume(box, "up", ["--device", box.disk(GiB).device], options);
  expect(report.error).toBeNull();
  expect(readdirSync(box.dir)).not.toContain("trapped");
});

test("an image that is taken back after a failure takes nobody else's with it", async () => {
  const box = sandbox();
  const [ours, theirs] = [box.folder("ours"), box.folder("theirs")];
  writeFileSync(join(theirs, "disk.img"), "somebody's");
  const racer = await racing(box, ours, theirs);
  for (let run = 0; run < depth(15, 200); run++) {
    // Made, found to be too small, and removed.
    await volume(box, "up", ["--image", join(ours, "disk.img"), "--size", "50M"]);
    holdStill(racer);
    const files = below(box.dir).filter((path) => path.endsWith("/disk.img"));
    const texts = files.filter((path) => lstatSync(path).size < 100);
    // Where the folder was turned away, the new and empty file is left; a note says so.
    expect(texts.map((path) => readFileSync(path, "utf8"))).toContain("somebody's");
    racer.kill("SIGCONT");
  }
  racer.kill("SIGTERM");
  expect(await racer.exited).toBe(0);
});
