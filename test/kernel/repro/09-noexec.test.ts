import { expect, test } from "bun:test";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up } from "../../kit/agent.ts";
import { command, tryCommand } from "../../kit/command.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { status, statusLines } from "../../kit/status.ts";
import { dockerOf, preparedDisk, rawOf } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** A volume of which somebody has mounted a place beforehand. */
async function mountedBefore(box: Sandbox, options: string, path: string): Promise<Disk> {
  const disk = await preparedDisk(box);
  box.mount(disk.device, path, "-o", options);
  return disk;
}

/** The place of Docker, by somebody who gives the filesystem the options that we would have given it. */
const dockerBefore = (box: Sandbox, options: string): Promise<Disk> =>
  mountedBefore(box, `subvol=@docker,compress=zstd:1,${options}`, dockerOf(box));

/** The command that a text gives behind `before`, done as it is written. */
function obey(text: string, before: string): void {
  const line = new RegExp(`${before}: (.*)$`, "m").exec(text)?.[1];
  if (line === undefined) throw new Error(`no command in: ${text}`);
  command("bash", "-c", line);
}

test("a place mounted noexec, nodev, nosuid and with access times is kept, and told", async () => {
  const box = sandbox();
  const { device } = await dockerBefore(box, "noexec,nodev,nosuid,relatime");
  const planned = (await plan(box, "--device", device)).notes.join("\n");
  const { notes } = await up(box, "--device", device);
  for (const text of [planned, notes.join("\n")]) {
    expect(text).toContain(dockerOf(box));
    for (const word of ["noexec", "nodev", "nosuid", "without noatime"])
      expect(text).toContain(word);
  }
  const answer = await status(box, ["--device", device]);
  expect(answer).toMatchObject({ state: "up", healthy: false });
  expect(answer.problems).toMatchObject([{ code: "mount-options", level: "warning" }]);
  expect((await statusLines(box, ["--device", device]))[0]).not.toMatch(/healthy/);
});

test("the command that is given helps: a program starts, and nothing is left to tell", async () => {
  const box = sandbox();
  const { device } = await dockerBefore(box, "noexec,nodev,nosuid,relatime");
  const { notes } = await up(box, "--device", device);
  const program = join(dockerOf(box), "true");
  copyFileSync("/bin/true", program);
  expect(tryCommand("bash", "-c", program).exitCode).not.toBe(0);
  const note = notes.find((text) => text.includes("noexec")) ?? "";
  obey(note, "to undo it");
  command("bash", "-c", program);
  expect((await up(box, "--device", device)).notes.join()).not.toContain(dockerOf(box));
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true, problems: [] });
});

test.each(["noexec", "nodev", "nosuid", "relatime", "strictatime"])(
  "%s alone is enough to be told, and its command undoes it",
  async (option) => {
    const box = sandbox();
    const own = option.endsWith("atime") ? option : `${option},noatime`;
    const { device } = await dockerBefore(box, own);
    await up(box, "--device", device);
    const { problems } = await status(box, ["--device", device]);
    const [problem] = problems.filter(({ code }) => code === "mount-options");
    expect(problem?.message).toContain(option.endsWith("atime") ? "noatime" : option);
    obey(problem?.hint ?? "", "to undo it");
    expect((await status(box, ["--device", device])).problems).toBeEmpty();
  },
);

test("the whole filesystem, which is for the agent alone, may be as closed as somebody likes", async () => {
  const box = sandbox();
  const { device } = await mountedBefore(
    box,
    "noatime,noexec,nodev,nosuid,compress=zstd:1",
    rawOf(box),
  );
  expect((await up(box, "--device", device)).notes.join()).not.toMatch(/noexec|nodev|nosuid/);
  expect(await status(box, ["--device", device])).toMatchObject({ healthy: true, problems: [] });
});

test("a path with a space and a quote in it is one that the command can take", async () => {
  const box = sandbox();
  const root = box.folder("it's a root");
  const disk = await preparedDisk(box);
  box.mount(disk.device, join(root, "var/lib/docker"), "-o", "subvol=@docker,noexec,noatime");
  const run = await up(box, "--device", disk.device, "--root", root);
  obey(run.notes.find((text) => text.includes("noexec")) ?? "", "to undo it");
  const again = await up(box, "--device", disk.device, "--root", root);
  expect(again.notes.join()).not.toContain("noexec");
});

/** Options of somebody's first mount, and what they are called as the kernel shows them. */
const deviating = [
  ["compress=zstd:9", "compress=zstd:9"],
  ["compress-force=zstd:1", "compress-force=zstd:1"],
  ["compress=zstd", "compress=zstd:3"],
  ["compress=lzo", "compress=lzo"],
  ["compress=no", "compress=no"],
  ["compress=zstd:1,nodiscard", "nodiscard"],
  ["compress=zstd:1,discard=sync", "discard=sync"],
  ["nodatacow", "nodatacow"],
  ["compress=zstd:1,nodatasum", "nodatasum"],
  ["compress=zstd:1,nobarrier", "nobarrier"],
  ["compress=zstd:1,notreelog", "notreelog"],
  ["compress=zstd:1,noacl", "noacl"],
  ["compress=zstd:1,autodefrag", "autodefrag"],
  ["compress=zstd:1,flushoncommit", "flushoncommit"],
  ["compress=zstd:1,commit=300", "commit=300"],
  ["compress=zstd:1,max_inline=0", "max_inline=0"],
] as const;

test.each(deviating)(
  "%s of a mount that came first is told as %s, with the command that changes it",
  async (options, shown) => {
    const box = sandbox();
    const { device } = await mountedBefore(box, `noatime,${options}`, "elsewhere");
    const planned = (await plan(box, "--device", device)).notes.join("\n");
    const { notes } = await up(box, "--device", device);
    for (const text of [planned, notes.join("\n")]) expect(text).toContain(`${shown} instead of `);
    const before = await status(box, ["--device", device]);
    expect(before.problems).toMatchObject([{ code: "filesystem-options", level: "warning" }]);
    obey(before.problems[0]?.hint ?? "", "to change them");
    const after = await status(box, ["--device", device]);
    expect(after).toMatchObject({ healthy: true, problems: [] });
    expect(after.options).toContain("compress=zstd:1");
    expect((await up(box, "--device", device)).notes.join()).not.toContain("instead of");
  },
);

test("a layout that asks for another level than the one in force is told so", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  await up(box, "--device", device);
  const layout = box.path("layout.json");
  const subvolumes = [{ name: "@docker", path: "/var/lib/docker" }];
  writeFileSync(layout, JSON.stringify({ options: ["compress=zstd:9"], subvolumes }));
  const { notes } = await up(box, "--device", device, "--layout", layout);
  expect(notes.join()).toContain("compress=zstd:1 instead of compress=zstd:9");
  obey(notes.join("\n"), "to change them");
  expect((await up(box, "--device", device, "--layout", layout)).notes).toBeEmpty();
});

test("of a volume that the program mounted itself there is nothing to tell", async () => {
  const box = sandbox();
  const { device } = await preparedDisk(box);
  const layouts = [
    ["nodatacow"],
    ["compress", "discard"],
    ["compress=zstd:15", "commit=120", "autodefrag", "flushoncommit", "max_inline=1024", "noacl"],
    ["nodatasum", "compress-force=zlib:9"],
    ["compress=zstd:3", "nodatasum", "nossd", "thread_pool=3"],
    [],
  ];
  for (const options of layouts) {
    const layout = box.path("layout.json");
    const subvolumes = [{ name: "@docker", path: "/var/lib/docker" }];
    writeFileSync(layout, JSON.stringify({ options, subvolumes }));
    const args = ["--device", device, "--layout", layout];
    await up(box, ...args);
    expect((await up(box, ...args)).notes).toBeEmpty();
    expect((await status(box, args)).problems).toBeEmpty();
    await down(box, ...args);
  }
});
