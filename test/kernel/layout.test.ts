import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agent, down, fails, up, volume } from "../kit/agent.ts";
import { badLayouts } from "../kit/bad-layouts.ts";
import { command } from "../kit/command.ts";
import { flush, GiB, nonZeroBlocks } from "../kit/image.ts";
import { mountsUnder } from "../kit/mountinfo.ts";
import { expectRefused } from "../kit/refusal.ts";
import { stepOutcomes } from "../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { expectMounted, expectNocow, ourMounts } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();
const examples = join(import.meta.dir, "..", "..", "docs", "layouts");

function layoutFile(box: Sandbox, data: unknown, name = "layout.json"): string {
  const path = box.path(name);
  writeFileSync(path, data instanceof Uint8Array || typeof data === "string" ? data : json(data));
  return path;
}
const json = (data: unknown): string => JSON.stringify(data);

interface LayoutFile {
  readonly label: string;
  readonly rawPath: string;
  readonly options: readonly string[];
  readonly subvolumes: readonly {
    readonly name: string;
    readonly path: string;
    readonly nocow?: readonly (string | { readonly file: string })[];
  }[];
}

const named = (name: string): LayoutFile => ({
  label: `${name}-data`,
  rawPath: `/run/${name}`,
  options: ["compress=zstd:1"],
  subvolumes: [
    { name: "@data", path: `/srv/${name}/data`, nocow: ["db"] },
    { name: `@${name}`, path: `/srv/${name}/other` },
  ],
});

const mountsOf = (box: Sandbox, layout: LayoutFile): string[] => [
  `/ ${box.root}${layout.rawPath}`,
  ...layout.subvolumes.map(({ name, path }) => `/${name} ${box.root}${path}`),
];

/** All mounts of the layout are there, on this disk, and its NOCOW directories. */
function expectBroughtUp(box: Sandbox, layout: LayoutFile, { device }: Disk): void {
  const found = mountsUnder(box.root).filter(({ source }) => source === device);
  expect(found.map(({ root, path }) => `${root} ${path}`)).toEqual(mountsOf(box, layout));
  for (const { path, nocow = [] } of layout.subvolumes) {
    for (const place of nocow) {
      expectNocow(join(box.root, path, typeof place === "string" ? place : place.file));
    }
  }
}

test.each(badLayouts.map((row) => [row.what, row] as const))(
  "refused before anything is touched: %s",
  async (_, { text, named: place }) => {
    const box = sandbox();
    const { image, device } = box.disk(GiB);
    const path = layoutFile(box, text);
    const args = ["--device", device, "--layout", path];
    const before = observe(box);
    const run = await volume(box, "up", args);
    expect(run.exitCode).toBe(2);
    expect(run.report.error?.code).toBe("layout");
    expect(run.report.error?.message).toContain(path);
    expect(run.report.error?.message).toMatch(place);
    const printed = await agent(["layout", "--layout", path]);
    expect(printed).toMatchObject({ exitCode: 2, stdout: "" });
    expect(printed.stderr).toMatch(place);
    expect(observe(box)).toEqual(before);
    expect(nonZeroBlocks(image)).toBeEmpty();
  },
);

test.each<[string, (box: Sandbox) => string, RegExp]>([
  ["does not exist", (box) => box.path("none.json"), /does not exist/],
  ["is a folder", (box) => box.folder("folder.json"), /not a regular file/],
  [
    "is a FIFO",
    (box) => {
      command("mknod", box.path("fifo.json"), "p");
      return box.path("fifo.json");
    },
    /not a regular file/,
  ],
  ["is a device", () => "/dev/zero", /not a regular file/],
])("a layout that %s is refused at once", async (_, make, said) => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const path = make(box);
  for (const verb of ["up", "plan", "down"] as const) {
    const run = await volume(box, verb, ["--device", device, "--layout", path]);
    expect(run.exitCode).toBe(2);
    expect(run.report.error).toMatchObject({ code: "layout" });
    expect(run.report.error?.message).toMatch(said);
  }
});

test("a mount point with a name that is too long is refused before the disk is formatted", async () => {
  const box = sandbox();
  const { image, device } = box.disk(GiB);
  const subvolumes = [{ name: "@a", path: `/srv/${"a".repeat(256)}` }];
  const path = layoutFile(box, { subvolumes });
  await fails(volume(box, "up", ["--device", device, "--layout", path]), "layout");
  flush(device);
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("two layouts on two disks are up side by side", async () => {
  const box = sandbox();
  const volumes = ["first", "second"].map((name) => {
    const layout = named(name);
    return { layout, disk: box.disk(GiB), path: layoutFile(box, layout, `${name}.json`) };
  });
  for (const { disk, path } of volumes) await up(box, "--device", disk.device, "--layout", path);
  for (const { layout, disk, path } of volumes) {
    expectBroughtUp(box, layout, disk);
    const answer = await status(box, ["--device", disk.device, "--layout", path]);
    expect(answer).toMatchObject({ state: "up", device: disk.device, label: layout.label });
    const again = await up(box, "--device", disk.device, "--layout", path);
    expect(again.outcome).toBe("unchanged");
  }
  const [first, second] = volumes;
  await down(box, "--device", first?.disk.device ?? "", "--layout", first?.path ?? "");
  expect(ourMounts(box)).toEqual(second === undefined ? [] : mountsOf(box, second.layout));
  if (second !== undefined) expectBroughtUp(box, second.layout, second.disk);
});

test("a second volume whose mount points are taken is refused, and the first stays", async () => {
  const box = sandbox();
  const layout = named("same");
  const path = layoutFile(box, layout);
  const first = box.disk(GiB);
  await up(box, "--device", first.device, "--layout", path);
  const second = box.disk(GiB);
  await expectRefused(box, ["--device", second.device, "--layout", path], {
    code: "target-occupied",
    names: [layout.rawPath],
  });
  expectBroughtUp(box, layout, first);
});

test.each(readdirSync(examples).filter((name) => name.endsWith(".json")))(
  "the worked example %s comes up",
  async (name) => {
    const box = sandbox();
    const path = join(examples, name);
    const layout = (await Bun.file(path).json()) as LayoutFile;
    const disk = box.disk(GiB);
    const report = await up(box, "--device", disk.device, "--layout", path);
    expect(report.notes).toBeEmpty();
    expectBroughtUp(box, layout, disk);
    await down(box, "--device", disk.device, "--layout", path);
    expect(ourMounts(box)).toBeEmpty();
  },
);

const superblock = ({ device }: Disk): string => {
  flush(device);
  return command("btrfs", "inspect-internal", "dump-super", "--full", device);
};

test("the options of mkfs take effect", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const mkfs = { nodesize: 4096, metadata: "single", data: "dup", checksum: "sha256" };
  const path = layoutFile(box, { ...named("mkfs"), mkfs });
  await up(box, "--device", disk.device, "--layout", path);
  const text = superblock(disk);
  expect(text).toMatch(/^nodesize\s+4096$/m);
  expect(text).toMatch(/^csum_type\s+2 \(sha256\)$/m);
  const { profiles } = await status(box, ["--device", disk.device, "--layout", path]);
  const profileOf = new Map(profiles.map(({ type, profile }) => [type, profile]));
  expect(profileOf.get("metadata")).toBe("single");
  expect(profileOf.get("data")).toBe("dup");
  await down(box, "--device", disk.device, "--layout", path);
  command("btrfs", "check", "--readonly", disk.device);
});

test("the label and the mount options are those of the layout", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const label = `läbel "1" $HOME -f`;
  const options = ["compress-force=lzo", "commit=77", "nodiscard"];
  const path = layoutFile(box, { ...named("own"), label, options });
  await up(box, "--device", disk.device, "--layout", path);
  const answer = await status(box, ["--device", disk.device, "--layout", path]);
  expect(answer.label).toBe(label);
  const inForce = answer.options?.split(",") ?? [];
  expect(inForce).toContain("compress-force=lzo");
  expect(inForce).toContain("commit=77");
  expect(inForce.join()).not.toContain("discard");
  for (const mount of mountsUnder(box.root)) expect(mount.options).toContain("noatime");
});

test("a subvolume that is added to the layout is made on the next run, and nothing else", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const layout = named("grown");
  await up(box, "--device", disk.device, "--layout", layoutFile(box, layout));
  const grown = {
    ...layout,
    subvolumes: [...layout.subvolumes, { name: "@new", path: "/srv/new" }],
  };
  const report = await up(box, "--device", disk.device, "--layout", layoutFile(box, grown));
  expect(stepOutcomes(report)).toMatchObject({
    filesystem: "kept",
    mount: "kept",
    subvolumes: "changed",
    mountpoints: "changed",
  });
  expectBroughtUp(box, grown, disk);
});

test("paths and names with spaces, backslashes and any script work", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const layout = {
    ...named("odd"),
    subvolumes: [{ name: "@a b\\c 数", path: "/srv/with space/a\\040b/数", nocow: ["d b"] }],
  };
  const path = layoutFile(box, layout);
  await up(box, "--device", disk.device, "--layout", path);
  expectBroughtUp(box, layout, disk);
  expect((await up(box, "--device", disk.device, "--layout", path)).outcome).toBe("unchanged");
  await down(box, "--device", disk.device, "--layout", path);
  expect(ourMounts(box)).toBeEmpty();
});

test("an existing directory in a subvolume's place is refused, whatever the layout calls it", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const layout = named("dir");
  const path = layoutFile(box, layout);
  await up(box, "--device", disk.device, "--layout", path);
  mkdirSync(join(box.root, layout.rawPath, "@plain"));
  const subvolumes = [...layout.subvolumes, { name: "@plain", path: "/srv/plain" }];
  const other = layoutFile(box, { ...layout, subvolumes }, "other.json");
  await fails(volume(box, "up", ["--device", disk.device, "--layout", other]), "not-a-subvolume");
  expectBroughtUp(box, layout, disk);
});

test("`layout` prints the built-in layout as a file that changes nothing", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  const printed = await agent(["layout"]);
  expect(printed).toMatchObject({ exitCode: 0, stderr: "" });
  const path = layoutFile(box, printed.stdout);
  const report = await up(box, "--device", disk.device, "--layout", path);
  expect(report.outcome).toBe("unchanged");
  expectMounted(box.root);
  expect((await agent(["layout", "--layout", path])).stdout).toBe(printed.stdout);
});
