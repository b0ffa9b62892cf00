import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { flipByte, flush, GiB, resize } from "../kit/image.ts";
import { expectRefused } from "../kit/refusal.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { at, PRIMARY } from "../kit/superblock.ts";
import { dockerOf, preparedDisk, withWholeFilesystem } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

/** Only a mount can show these. */
const MAY_BE_UNKNOWN = ["subvolumes", "nocow", "mountpoints", "capacity"];

interface State {
  readonly what: string;
  /** Brings the machine into the state and returns the disk options. */
  readonly prepare: (box: Sandbox) => Promise<readonly string[]> | readonly string[];
}

const onDevice = (device: string): readonly string[] => ["--device", device];

const states: readonly State[] = [
  {
    what: "an image that does not exist",
    prepare: (box) => ["--image", box.path("none.img"), "--size", "1G"],
  },
  { what: "a blank disk", prepare: (box) => onDevice(box.disk(GiB).device) },
  { what: "a blank image", prepare: (box) => ["--image", box.image(GiB)] },
  { what: "a prepared disk", prepare: async (box) => onDevice((await preparedDisk(box)).device) },
  {
    what: "a prepared image",
    prepare: async (box) => {
      const args = ["--image", box.path("prepared.img"), "--size", "1G"];
      await up(box, ...args);
      await down(box, ...args);
      return args;
    },
  },
  {
    what: "a prepared image to be grown",
    prepare: async (box) => {
      const image = box.path("prepared.img");
      await up(box, "--image", image, "--size", "1G");
      await down(box, "--image", image);
      return ["--image", image, "--size", "2G"];
    },
  },
  {
    what: "a mounted volume",
    prepare: async (box) => {
      const { device } = box.disk(GiB);
      await up(box, ...onDevice(device));
      return onDevice(device);
    },
  },
  {
    what: "a mounted image to be grown",
    prepare: async (box) => {
      const image = box.path("mounted.img");
      await up(box, "--image", image, "--size", "1G");
      return ["--image", image, "--size", "2G"];
    },
  },
  {
    what: "a volume of which one target is not mounted",
    prepare: async (box) => {
      const { device } = box.disk(GiB);
      await up(box, ...onDevice(device));
      box.umount(join(box.root, "var/lib/cni"));
      return onDevice(device);
    },
  },
  {
    what: "a mounted volume that lost a NOCOW directory",
    prepare: async (box) => {
      const { device } = box.disk(GiB);
      await up(box, ...onDevice(device));
      command("rmdir", join(dockerOf(box), "network/files"));
      return onDevice(device);
    },
  },
  {
    what: "a volume that lost a subvolume",
    prepare: async (box) => {
      const disk = await preparedDisk(box);
      withWholeFilesystem(disk, box, (top) => {
        command("btrfs", "subvolume", "delete", join(top, "@cni"));
      });
      return onDevice(disk.device);
    },
  },
  {
    what: "a grown disk",
    prepare: async (box) => {
      const { image, device } = await preparedDisk(box);
      box.detach(device);
      resize(image, 2 * GiB);
      return onDevice(box.attach(image));
    },
  },
  {
    what: "a damaged superblock",
    prepare: async (box) => {
      const disk = await preparedDisk(box);
      flipByte(disk.image, PRIMARY + at.label);
      command("blockdev", "--flushbufs", disk.device);
      return onDevice(disk.device);
    },
  },
  {
    what: "a disk to be formatted by force",
    prepare: (box) => {
      const { device } = box.disk(GiB);
      command("mkfs.ext4", "-q", "-F", device);
      flush(device);
      return [...onDevice(device), "--format", "any"];
    },
  },
  {
    what: "a target that is covered by force",
    prepare: async (box) => {
      const { device } = await preparedDisk(box);
      writeFileSync(join(dockerOf(box), "old"), "");
      return [...onDevice(device), "--cover"];
    },
  },
];

test.each(states.map((state) => [state.what, state] as const))(
  "of %s: changes nothing, and up does what it said",
  async (_, { prepare }) => {
    const box = sandbox();
    const args = await prepare(box);
    const before = observe(box);
    const planned = await plan(box, ...args);
    expect(observe(box)).toEqual(before);
    const done = await up(box, ...args);
    const said = stepOutcomes(planned);
    for (const [step, outcome] of Object.entries(stepOutcomes(done))) {
      if (MAY_BE_UNKNOWN.includes(step) && said[step] === "unknown") continue;
      expect(`${step} ${said[step]}`).toBe(`${step} ${outcome}`);
    }
    expect(planned.verdict).toBe(done.verdict);
    expect(planned.bytes).toBe(done.bytes);
  },
);

test("of a mounted volume nothing is unknown", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  const planned = await plan(box, "--device", device);
  expect(planned.outcome).toBe("unchanged");
  expect(Object.values(stepOutcomes(planned))).toEqual(Array<string>(7).fill("kept"));
});

test("of an unmounted volume says what only a mount could show", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const planned = await plan(box, "--device", device);
  expect(stepOutcomes(planned)).toMatchObject({ subvolumes: "unknown", nocow: "unknown" });
  const details = planned.steps.filter(({ outcome }) => outcome === "unknown");
  for (const { detail } of details) expect(detail).toContain("checked once mounted");
});

test("waits for the disk as up does, and reports it missing with the same code", async () => {
  const box = sandbox();
  const args = ["--device", box.path("none"), "--wait", "0.1"];
  const [planned, done] = [await volume(box, "plan", args), await volume(box, "up", args)];
  expect(planned.report.error?.code).toBe("device-missing");
  expect(done.report.error?.code).toBe("device-missing");
});

test("makes no --root folder", async () => {
  const box = sandbox();
  const before = observe(box);
  await plan(box, "--image", box.path("none.img"), "--size", "1G");
  expect(observe(box)).toEqual(before);
});

/** A prepared disk that the kernel is never to write to again. */
async function seedDevice(box: Sandbox): Promise<string> {
  const { device } = await preparedDisk(box);
  command("btrfstune", "-f", "-S", "1", device);
  flush(device);
  return device;
}

test("a seed device is refused by plan as by up, mounted or not", async () => {
  const box = sandbox();
  const device = await seedDevice(box);
  const refused = { code: "read-only", names: [/is a seed device/, /btrfstune -S 0/] };
  await expectRefused(box, onDevice(device), refused);
  const top = box.mount(device, "top", "-o", "ro");
  await expectRefused(box, onDevice(device), refused);
  box.umount(top);
  // What the hint says helps.
  command("btrfstune", "-f", "-S", "0", device);
  await up(box, ...onDevice(device));
});

test("a seed device that another filesystem grew from is refused by plan as by up", async () => {
  const box = sandbox();
  const seed = await seedDevice(box);
  const { device } = box.disk(GiB);
  const top = box.mount(seed, "top", "-o", "ro");
  command("btrfs", "device", "add", "-f", device, top);
  command("mount", "-o", "remount,rw", top);
  await expectRefused(box, onDevice(seed), { code: "read-only", names: [/is a seed device/] });
});
