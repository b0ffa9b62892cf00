import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Kernel } from "../../../src/linux/kernel.ts";
import { OverridableKernel } from "../../kit/overridable-kernel.ts";
import type { Report } from "../../../src/volume/report.ts";
import { up } from "../../../src/volume/up.ts";
import { command } from "../../kit/command.ts";
import { flipByte, flush, GiB, resize, writeAt } from "../../kit/image.ts";
import { refreshSize } from "../../kit/loops.ts";
import { mountsUnder } from "../../kit/mountinfo.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { FaultyKernel } from "../../kit/simulated/faults.ts";
import { SimulatedKernel } from "../../kit/simulated/kernel.ts";
import { Storage } from "../../kit/simulated/storage.ts";
import { withDirectories } from "../../kit/simulated/tree.ts";
import { addImage, addLoop, newWorld, type World } from "../../kit/simulated/world.ts";

const sandbox = useSandbox();

/** One machine with one disk of 1 GiB, real or simulated, that a scenario is played on: a loop device of a file. */
interface Machine {
  readonly kernel: Kernel;
  readonly device: string;
  readonly image: string;
  readonly root: string;
  write(offset: number, bytes: Uint8Array): void;
  flip(offset: number): void;
  grow(bytes: number): void;
  takeDown(): void;
  /** A file where a subvolume is to be mounted. */
  fill(target: string): void;
}

/** The kernel of a machine that has no other loop device, Btrfs or process, whatever runs beside this test. */
class UndisturbedKernel extends OverridableKernel {
  readonly #device: string;
  readonly #partitions: string;
  #mounted = -1;
  #processes = -1;

  /** `partitions`: a file that stands for /proc/partitions. */
  constructor(device: string, partitions: string) {
    super();
    this.#device = device.replace("/dev/", "");
    this.#partitions = partitions;
  }

  override open(path: string, flags: number, mode?: number): number {
    const isTable = path === "/proc/partitions";
    const fd = super.open(isTable ? this.#partitions : path, flags, mode);
    if (path === "/sys/fs/btrfs") this.#mounted = fd;
    if (path === "/proc") this.#processes = fd;
    return fd;
  }

  override readlink(path: string): string {
    return path === "/proc/self" ? "" : super.readlink(path);
  }

  override readDirectory(fd: number): string[] {
    const names = super.readDirectory(fd);
    if (fd === this.#processes) {
      this.#processes = -1;
      return [];
    }
    if (fd !== this.#mounted) return names;
    this.#mounted = -1;
    const isOurs = (uuid: string): boolean =>
      uuid === "features" || existsSync(`/sys/fs/btrfs/${uuid}/devices/${this.#device}`);
    return names.filter(isOurs);
  }
}

function realMachine(box: Sandbox): Machine {
  const { image, device } = box.disk(GiB);
  mkdirSync(box.root);
  const onDisk = (change: () => void): void => {
    flush(device);
    change();
    command("blockdev", "--flushbufs", device);
  };
  const partitions = box.path("partitions");
  writeFileSync(partitions, `major minor  #blocks  name\n\n 7 0 512 ${device.slice(5)}\n`);
  return {
    kernel: new UndisturbedKernel(device, partitions),
    device,
    image,
    root: box.root,
    write: (offset, bytes) => onDisk(() => writeAt(image, offset, bytes)),
    flip: (offset) => onDisk(() => flipByte(image, offset)),
    grow(bytes) {
      resize(image, bytes);
      refreshSize(device);
    },
    takeDown() {
      for (const { path } of mountsUnder(box.root).reverse()) box.umount(path);
    },
    fill(target) {
      mkdirSync(join(box.root, target), { recursive: true });
      writeFileSync(join(box.root, target, "file"), "");
    },
  };
}

function simulatedMachine(): Machine {
  const world: World = newWorld(1);
  const storage = new Storage(GiB);
  const image = "/srv/disk.img";
  addImage(world, image, storage);
  addLoop(world, "loop0", image, world.id());
  const cache = world.storageOf("loop0");
  const root = "/srv/root";
  world.trees.set("root", withDirectories(world.treeOf("root"), [root]));
  const write = (offset: number, bytes: Uint8Array): void => {
    cache?.flush();
    storage.write(bytes, offset);
    storage.flush();
  };
  return {
    kernel: new SimulatedKernel(world),
    device: "/dev/loop0",
    image,
    root,
    write,
    flip(offset) {
      const byte = new Uint8Array(1);
      storage.read(byte, offset);
      write(
        offset,
        byte.map((bits) => bits ^ 0xff),
      );
    },
    grow(bytes) {
      storage.resize(bytes);
      cache?.resize(bytes);
    },
    takeDown() {
      const kernel = new SimulatedKernel(world);
      const points = world.mounts.map(({ point }) => point).filter((at) => at.startsWith(root));
      for (const point of points.reverse()) kernel.unmount(point, 0);
    },
    fill(target) {
      const file = { kind: "file", mode: 0o600, text: "" } as const;
      const path = `${root}/${target}`;
      world.trees.set("root", withDirectories(world.treeOf("root"), [path]));
      world.setEntry("root", `${path}/file`, file);
    },
  };
}

/** What a run answered, in words that are the same on every machine. */
interface Answer {
  readonly report: unknown;
  readonly calls: readonly string[];
}

function answer(machine: Machine, options: object = {}): Answer {
  const { kernel, device, root } = machine;
  const listener = new FaultyKernel(kernel);
  const all = { device, root, format: "blank", ...options } as const;
  const report = up(listener.kernel, all, () => undefined);
  return {
    report: comparable(report, machine),
    // How many reads a text takes, and which other Btrfs are mounted, differs between machines.
    calls: listener.calls
      .filter(({ name, what }) => name !== "read" && !what.startsWith("/sys/fs/btrfs/"))
      .map(({ name, what }) => comparableCall(`${name} ${what}`, machine)),
  };
}

const comparableText = (text: string, { device, image, root }: Machine): string =>
  text
    .replaceAll(root, "ROOT")
    .replaceAll(image, "IMAGE")
    .replaceAll(device, "DISK")
    .replaceAll(device.slice("/dev/".length), "NAME")
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID");

const comparableCall = (text: string, machine: Machine): string =>
  comparableText(text, machine)
    .replace(/\/proc\/self\/fd\/\d+/, "FD")
    .replace(/\/sys\/dev\/block\/\d+:\d+/, "NUMBER")
    .replace(/\S*(mkfs\.btrfs)/, "$1");

/** Without what is another on each run: times, the UUID, the old bytes of a repair. */
function comparable(report: Report, machine: Machine): unknown {
  const { ms: _, uuid, steps, ...rest } = report;
  const alike = { ...rest, hasUuid: uuid !== null };
  const withoutTimes = steps.map(({ step, outcome, detail }) => ({ step, outcome, detail }));
  return JSON.parse(comparableText(JSON.stringify({ ...alike, steps: withoutTimes }), machine));
}

const PRIMARY = 64 * 1024;
const LABEL = 299;

/** Chapters of the life of a volume; each goes on where the one before ended. */
const chapters: readonly (readonly [name: string, play: (machine: Machine) => Answer])[] = [
  ["the first boot of a blank disk", (machine) => answer(machine)],
  ["a second run while it is mounted", (machine) => answer(machine)],
  [
    "a warm boot",
    (machine) => {
      machine.takeDown();
      return answer(machine);
    },
  ],
  [
    "a larger disk",
    (machine) => {
      machine.takeDown();
      machine.grow(2 * GiB);
      return answer(machine);
    },
  ],
  [
    "a damaged superblock",
    (machine) => {
      machine.takeDown();
      machine.flip(PRIMARY + LABEL);
      return answer(machine);
    },
  ],
  [
    "a superblock of zeros, which names nobody",
    (machine) => {
      machine.takeDown();
      machine.write(PRIMARY, new Uint8Array(4096));
      return answer(machine);
    },
  ],
  ["the same repaired", (machine) => answer(machine, { repair: "always" })],
  [
    "a target that is not empty",
    (machine) => {
      machine.takeDown();
      machine.fill("var/lib/cni");
      return answer(machine);
    },
  ],
  ["the same covered", (machine) => answer(machine, { cover: true })],
  [
    "an ext4 on top of it",
    (machine) => {
      machine.takeDown();
      machine.write(0x438, Uint8Array.of(0x53, 0xef));
      return answer(machine);
    },
  ],
];

test("the simulated kernel answers as the real one does, call by call, through the life of a volume", () => {
  const real = realMachine(sandbox());
  const simulated = simulatedMachine();
  for (const [chapter, play] of chapters) {
    const said = play(real);
    expect({ chapter, ...play(simulated) }).toEqual({ chapter, ...said });
  }
});
