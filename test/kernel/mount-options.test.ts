import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { fails, up, volume } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { flush, GiB, nonZeroBlocks } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { ourMounts, preparedDisk } from "../kit/volume.ts";
import { linuxKernel } from "../../src/linux/linux-kernel.ts";
import { defaultLayout } from "../../src/volume/layout.ts";
import { refusedOption } from "../../src/volume/mount-options.ts";
import { up as libraryUp } from "../../src/volume/index.ts";

const sandbox = useSandbox();

function layoutFile(box: Sandbox, options: readonly string[]): string {
  const path = box.path("layout.json");
  writeFileSync(path, JSON.stringify({ options, subvolumes: [{ name: "@a", path: "/srv/a" }] }));
  return path;
}

/** strace that has the kernel refuse, or not know, a system call. */
const injecting = (box: Sandbox, what: string): readonly string[] => [
  ...[tool("strace"), "--quiet=all", "--follow-forks", `--output=${box.path("trace")}`],
  ...["--trace=fsopen,fsconfig", `--inject=${what}`],
];

const taken = [
  "compress=zstd:15",
  "compress-force=lzo",
  "compress=none",
  "compress=zlib:9",
  "commit=300",
  "discard",
  "nodiscard",
  "autodefrag",
  "nobarrier",
  "flushoncommit",
  "max_inline=2k",
  "metadata_ratio=4",
  "noacl",
  "nodatasum",
  "notreelog",
  "skip_balance",
  "space_cache=v2",
  "ssd_spread",
  "thread_pool=8",
  "user_subvol_rm_allowed",
  "fatal_errors=bug",
];

test("what a layout may say, this kernel takes, one by one and mounted together", async () => {
  const kernel = linuxKernel();
  for (const option of taken) {
    expect(refusedOption(kernel, { ...defaultLayout, options: option })).toBeNull();
  }
  expect(refusedOption(kernel, { ...defaultLayout, options: "ssd,compresss=zstd" })).toBe(
    "compresss=zstd",
  );
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device, "--layout", layoutFile(box, taken.slice(4)));
  expect(ourMounts(box)).toHaveLength(2);
});

test.each(["up", "plan"] as const)(
  "an option that this kernel does not take is refused by %s before the disk is formatted",
  async (verb) => {
    const box = sandbox();
    const { image, device } = box.disk(GiB);
    const path = layoutFile(box, ["compress=zstd:-5", "ssd"]);
    const prefix = injecting(box, "fsconfig:error=EINVAL:when=2");
    const run = volume(box, verb, ["--device", device, "--layout", path], { prefix });
    const { message } = await fails(run, "layout");
    expect(message).toContain("ssd");
    flush(device);
    expect(nonZeroBlocks(image)).toBeEmpty();
    expect(ourMounts(box)).toBeEmpty();
  },
);

test.each(["fsopen:error=ENOSYS", "fsopen:error=EPERM", "fsconfig:error=ENOSYS"])(
  "a kernel that cannot be asked (%s) is not waited for",
  async (what) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    const args = ["--device", device, "--layout", layoutFile(box, ["commit=9"])];
    const run = await volume(box, "up", args, { prefix: injecting(box, what) });
    expect(run.report.error).toBeNull();
    expect((await status(box, args)).options).toContain("commit=9");
  },
);

test("on a filesystem that is there, a wrong option is named, and no rescue of the data is advised", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const report = libraryUp({
    device,
    root: box.root,
    layout: { ...defaultLayout, options: "compresss=zstd" },
  });
  expect(report.error).toMatchObject({ code: "layout" });
  expect(report.error?.message).toContain("compresss=zstd");
  expect(report.error?.hint).not.toContain("rescue");
  expect(ourMounts(box)).toBeEmpty();
});

test("a caller of the library has its options checked before the disk is formatted", () => {
  const box = sandbox();
  const { image, device } = box.disk(GiB);
  for (const options of ["compress=zstd:99", "commit=abc", "compresss=zstd"]) {
    const layout = { ...defaultLayout, options };
    expect(libraryUp({ device, root: box.root, layout }).error).toMatchObject({ code: "layout" });
  }
  flush(device);
  expect(nonZeroBlocks(image)).toBeEmpty();
});

test("a boot with a layout of one's own asks nothing of the kind where nothing is formatted", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const args = ["--device", device, "--layout", layoutFile(box, ["commit=9"])];
  await up(box, ...args);
  const prefix = injecting(box, "fsopen:error=ENOSYS");
  expect((await volume(box, "up", args, { prefix })).exitCode).toBe(0);
  expect(await Bun.file(box.path("trace")).text()).not.toContain("fsopen(");
});
