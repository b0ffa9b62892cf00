import { expect, test } from "bun:test";
import { agent, down, fails, plan, up, volume } from "../../kit/agent.ts";
import { GiB } from "../../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { superblockFacts } from "../../kit/superblock.ts";
import { btrfsDisk, markerIsThere, prepare } from "../../kit/volume.ts";

const sandbox = useSandbox();
const unique = (): string => `test-${crypto.randomUUID().slice(0, 13)}`;

async function labelled(box: Sandbox, label: string): Promise<Disk> {
  const disk = btrfsDisk(box, GiB, "--label", label);
  await prepare(box, disk);
  return disk;
}

test("LABEL= and UUID= mean the same in capitals, as in fstab", async () => {
  const box = sandbox();
  const label = unique();
  const disk = await labelled(box, label);
  const { uuid } = superblockFacts(disk.image);
  for (const name of [`LABEL=${label}`, `UUID=${uuid}`, `UUID=${uuid.toUpperCase()}`]) {
    expect((await plan(box, "--device", name)).device).toBe(disk.device);
    expect((await up(box, "--device", name)).device).toBe(disk.device);
    expect(markerIsThere(box)).toBeTrue();
    await down(box, "--device", name);
  }
});

test("a volume that is named so is not formatted either", async () => {
  const box = sandbox();
  const label = unique();
  const disk = await labelled(box, label);
  Bun.spawnSync(["wipefs", "--all", "--quiet", disk.device]);
  const named = ["--device", `LABEL=${label}`, "--format", "any", "--wait", "0"];
  await fails(volume(box, "up", named), "wiped");
});

test.each([
  ["PARTLABEL=data", "/dev/disk/by-partlabel/data"],
  ["PARTLABEL=my data", "/dev/disk/by-partlabel/my\\x20data"],
  ["partlabel=data", "/dev/disk/by-partlabel/data"],
  ["PARTUUID=6F0C1E5A-01", "/dev/disk/by-partuuid/6f0c1e5a-01"],
])("%s is answered with the path that means it", async (name, path) => {
  const box = sandbox();
  for (const verb of ["up", "plan", "down", "status"] as const) {
    const words = ["volume", verb, "--device", name, "--root", box.root];
    const { exitCode, stderr } = await agent(words, { cwd: box.dir });
    expect(exitCode).toBe(2);
    expect(stderr).toContain(path);
    expect(stderr).toContain(name);
    expect(stderr).not.toContain(box.dir);
  }
});

test.each(["vdx", "disks/vdx", "lable=data", "./vdx"])(
  "the path %p of a disk that is not there is in the message as it was typed",
  async (name) => {
    const box = sandbox();
    for (const cwd of [box.dir, "/"]) {
      const args = ["--device", name, "--wait", "0"];
      const { message } = await fails(volume(box, "up", args, { cwd }), "device-missing");
      expect(message).toStartWith(`${name} is not there`);
      expect(message).not.toContain(cwd === "/" ? "//" : cwd);
    }
  },
);

test("a relative path leads to the disk below the working directory", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  for (const [cwd, name] of [
    ["/dev", device.slice(5)],
    ["/", device.slice(1)],
  ] as const) {
    const { report } = await volume(box, "plan", ["--device", name], { cwd });
    expect(report).toMatchObject({ device, error: null });
  }
});

test("a relative path is waited for", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const running = volume(box, "plan", ["--device", "later", "--wait", "20"], { cwd: box.dir });
  await Bun.sleep(300);
  Bun.spawnSync(["ln", "-s", device, box.path("later")]);
  const { report } = await running;
  expect(report).toMatchObject({ device: box.path("later"), error: null });
  expect(report.ms).toBeLessThan(10_000);
});

test("--wait -1 and --size -1G are called what they are", async () => {
  const cases = [
    [["--wait", "-1"], '--wait "-1" is not a number of seconds'],
    [["--wait", "-.5"], '--wait "-.5" is not a number of seconds'],
    [["--image", "/i", "--size", "-1G"], '--size "-1G" is not a size'],
  ] as const;
  for (const [words, said] of cases) {
    const { exitCode, stderr } = await agent(["volume", "up", ...words]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(said);
  }
});
