import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { agent, agentPath, fails, reported, succeeds, up, volume } from "../kit/agent.ts";
import { command, tool, tryCommand } from "../kit/command.ts";
import { fingerprint, GiB, MiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { at, editSuperblock, MIRROR, PRIMARY } from "../kit/superblock.ts";
import { btrfsDisk, expectMounted, ourMounts } from "../kit/volume.ts";
import { observe } from "../kit/world.ts";

const sandbox = useSandbox();

const limited = (...limits: readonly string[]) => ({ prefix: [tool("prlimit"), ...limits] });

describe("a root with nothing in it but the program", () => {
  /** Runs the program there; all that is said has to be an answer or one of its errors. */
  function inEmptyRoot(box: Sandbox, ...words: readonly string[]) {
    const root = box.folder("empty");
    if (!existsSync(`${root}/arcbox-agent`)) copyFileSync(agentPath, `${root}/arcbox-agent`);
    command("chmod", "755", `${root}/arcbox-agent`);
    return tryCommand("chroot", root, "/arcbox-agent", ...words);
  }

  test.each([["--version"], ["--help"], ["layout"], ["completion bash"], ["volume up --help"]])(
    "%s works",
    (line) => {
      const { exitCode, stdout, stderr } = inEmptyRoot(sandbox(), ...line.split(" "));
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(stdout).not.toBe("");
    },
  );

  test.each([
    "plan --image=/x.img",
    "up --image=/x.img",
    "up",
    "up --device=/disk",
    "down --device=/disk",
    "down",
  ])("%s is refused, names what is missing and leaves nothing", (line) => {
    const box = sandbox();
    const { image, device } = box.disk(GiB);
    inEmptyRoot(box, "--version");
    const numbers = command("stat", "-c", "%Hr %Lr", device).trim().split(" ");
    command("mknod", box.path("empty", "disk"), "b", ...numbers);
    const before = fingerprint(image);
    const words = [...line.split(" "), "--wait=0"];
    const { exitCode, stdout, stderr } = inEmptyRoot(box, "volume", ...words, "--json");
    expect(stderr).toBe("");
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/\/(proc|sys)/),
    });
    expect(exitCode).toBe(9);
    expect(readdirSync(box.path("empty")).sort()).toEqual(["arcbox-agent", "disk"]);
    expect(fingerprint(image)).toBe(before);
  });

  test.each([["layout"], ["volume plan"], ["volume up"]])(
    "%s --layout=FILE says that there is no /proc",
    (line) => {
      const box = sandbox();
      inEmptyRoot(box, "--version");
      writeFileSync(box.path("empty", "x.json"), "{}");
      const { exitCode, stderr } = inEmptyRoot(box, ...line.split(" "), "--layout=/x.json");
      expect(stderr).toStartWith("arcbox-agent: unsupported: /proc is not mounted: ");
      expect(stderr).toEndWith("  hint: mount it first: mount -t proc proc /proc\n");
      expect(exitCode).toBe(9);
    },
  );
});

test.each([["plan"], ["up"], ["status"], ["down"]])(
  "%s with /sys alone says that there is no /proc",
  (action) => {
    const box = sandbox();
    const image = box.path("x.img");
    const words = ["volume", action, "--image", image, "--root", box.root];
    const { exitCode, stderr } = tryCommand(
      ...["unshare", "--mount", "--propagation", "private", "sh", "-ec"],
      'mount -t tmpfs none /proc; exec "$0" "$@"',
      agentPath,
      ...words,
    );
    expect(stderr).toStartWith("arcbox-agent: unsupported: /proc is not mounted: ");
    expect(exitCode).toBe(9);
    expect(existsSync(image)).toBeFalse();
  },
);

test("a standard descriptor that is closed is never the disk's", () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const trace = box.path("trace");
  const closed = 'exec <&- >&- 2>&-; exec "$@"';
  const words = ["volume", "up", "--root", box.root, "--device", device];
  const { exitCode } = tryCommand(
    "strace",
    "-o",
    trace,
    "-e",
    "trace=execve,open,openat,openat2,socket,pipe2,fcntl",
    ...["sh", "-c", closed, "sh", agentPath, ...words],
  );
  expect(exitCode).toBe(0);
  expectMounted(box.root);
  const lines = command("cat", trace).split("\n");
  const ours = lines.slice(lines.findLastIndex((line) => line.startsWith("execve(")) + 1);
  const low = ours.filter((line) => /^(open\w*|socket)\(.* = [012]$/.test(line));
  expect(low).toHaveLength(3);
  for (const line of low) expect(line).toMatch(/^open(at)?\((AT_FDCWD, )?"\/", .*O_PATH/);
  expect(ours.some((line) => line.includes(`"${device}"`))).toBe(true);
});

/** The least address space, in KiB, with which the kernel can start the program at all. */
function leastKiB(): number {
  for (let KiB = 500; KiB < 20_000; KiB += 100) {
    const { exitCode } = tryCommand("prlimit", `--as=${KiB * 1024}`, agentPath, "--version");
    if (exitCode === 0 || exitCode === 1) return KiB;
  }
  throw new Error("it starts with no memory at all");
}

test("with whatever memory there is, a volume is up or untouched, and the reason is told", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  const first = leastKiB();
  const statuses = new Set<number>();
  for (let KiB = first; KiB < first + 2500; KiB += 100) {
    const run = await agent(
      ["volume", "up", "--json", "--root", box.root, "--device", device],
      limited(`--as=${KiB * 1024}`),
    );
    statuses.add(run.exitCode);
    if (run.exitCode === 0) break;
    expect(ourMounts(box)).toEqual([]);
    // Too little for a report: then standard error has it.
    if (run.stdout === "") expect(run.stderr).toMatch(/internal: .*memory/);
    else expect(JSON.parse(run.stdout).error.message).toMatch(/memory|ENOMEM|mkfs/);
  }
  for (const status of statuses) expect([0, 1, 5, 6, 9]).toContain(status);
  expect(statuses.has(1)).toBe(true);
  await up(box, "--device", device);
  expectMounted(box.root);
});

/** As large as a layout may be, and of the most objects. */
const crowdedLayout = (): string => `{"subvolumes":[${Array(349_000).fill("{}").join()}]}`;

test("a layout for which there is no memory is our error, and not one of the file", async () => {
  const box = sandbox();
  writeFileSync(box.path("layout"), crowdedLayout());
  const args = ["--image", box.path("x.img"), "--layout", box.path("layout")];
  for (const MiBs of [8, 16, 24, 32]) {
    const run = await agent(
      ["volume", "up", "--json", "--root", box.root, ...args],
      limited(`--as=${MiBs * MiB}`),
    );
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/^arcbox-agent: internal: .*out of memory/);
  }
  expect(existsSync(box.path("x.img"))).toBe(false);
  await fails(volume(box, "up", args), "layout");
});

const layouts: readonly (readonly [what: string, text: () => string, words: RegExp])[] = [
  [
    "1,000 lists in each other",
    () => `${"[".repeat(1000)}${"]".repeat(1000)}`,
    /must be an object/,
  ],
  [
    "1,000 objects in each other",
    () => `${'{"subvolumes":'.repeat(1000)}1${"}".repeat(1000)}`,
    /subvolumes: Invalid type/,
  ],
  ["400,000 lists in each other", () => "[".repeat(400_000), /is nested too deeply$/],
  ["10 MiB of nothing", () => " ".repeat(10 * MiB), /is larger than 1 MiB$/],
  ["10 MiB of objects", () => `[${"{},".repeat(3 * MiB)}{}]`, /is larger than 1 MiB$/],
  ["half an object", () => "{", /is not JSON/],
];
test.each(layouts)("a layout of %s is refused in a sentence", async (_what, text, words) => {
  const box = sandbox();
  writeFileSync(box.path("layout"), text());
  const args = ["--image", box.path("x.img"), "--layout", box.path("layout")];
  const before = observe(box);
  const { message } = await fails(volume(box, "up", args), "layout");
  expect(message).toMatch(words);
  expect(message.length).toBeLessThan(300 + box.dir.length);
  const options = limited(`--stack=${128 * 1024}`);
  await fails(volume(box, "up", args, options), "layout");
  expect(observe(box)).toEqual(before);
});

test.each([64, 80, 100, 128, 200, 512])(
  "with a stack of %d KiB it does its work, or says that it is too small",
  async (KiB) => {
    const box = sandbox();
    const { device } = btrfsDisk(box);
    const args = ["volume", "up", "--root", box.root, "--device", device];
    const { exitCode, stderr } = await agent(args, limited(`--stack=${KiB * 1024}`));
    if (exitCode === 0) {
      expectMounted(box.root);
    } else {
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: expect.stringMatching(/internal: .*stack/),
      });
      expect(ourMounts(box)).toEqual([]);
    }
    if (KiB >= 128) expect(exitCode).toBe(0);
  },
);

describe("words that are no UTF-8 reach the kernel byte for byte", () => {
  /** What the shell's printf makes of it: a name with the bytes 0xff, 0xfe and a cut character. */
  const odd = String.raw`n\377\376\303(`;
  const oddBytes = Buffer.from([0x6e, 0xff, 0xfe, 0xc3, 0x28]);
  const shown = String.raw`n\xff\xfe\xc3(`;

  /** Runs the command with words that the shell makes. */
  const shell = (line: string, action: "up" | "plan" | "down") => {
    const whole = `exec '${agentPath}' volume ${action} --json --wait 0 ${line}`;
    const { exitCode, stdout, stderr } = tryCommand("sh", "-c", whole);
    return reported(action, Promise.resolve({ exitCode, stdout, stderr, ms: 0 }));
  };
  const inside = (box: Sandbox): string => `"$(printf '${box.dir}/${odd}')"`;
  const namesIn = (folder: string): Buffer[] => readdirSync(folder, { encoding: "buffer" });

  test("--image", async () => {
    const box = sandbox();
    const line = `--root '${box.root}' --image ${inside(box)}`;
    const { steps } = await succeeds(shell(line, "up"));
    const details = steps.map(({ detail }) => detail).join("\n");
    expect(details).toContain(`${box.dir}/${shown}: sparse image`);
    expect(details).not.toContain("\ufffd");
    expect(namesIn(box.dir)).toContainEqual(oddBytes);
    expectMounted(box.root);
    expect((await shell(line, "up")).report.outcome).toBe("unchanged");
    await succeeds(shell(line, "down"));
    expect(ourMounts(box)).toEqual([]);
  });

  test("--root", async () => {
    const box = sandbox();
    const { device } = btrfsDisk(box);
    command("sh", "-c", `mkdir ${inside(box)}`);
    const line = `--root ${inside(box)} --device ${device}`;
    const { mounts } = await succeeds(shell(line, "up"));
    expect(mounts.length).toBeGreaterThan(0);
    for (const { path } of mounts) expect(path).toStartWith(`${box.dir}/${shown}/`);
    expect((await shell(line, "up")).report.outcome).toBe("unchanged");
    await succeeds(shell(line, "down"));
    expect(ourMounts(box)).toEqual([]);
    expect(namesIn(box.dir).filter((name) => name.includes(0xff))).toEqual([oddBytes]);
  });

  test("--device, and no other name is taken for it", async () => {
    const box = sandbox();
    const { device } = btrfsDisk(box);
    symlinkSync(device, Buffer.concat([Buffer.from(`${box.dir}/`), oddBytes]));
    await succeeds(shell(`--root '${box.root}' --device ${inside(box)}`, "up"));
    const other = `"$(printf '${box.dir}/n\\377\\377\\303(')"`;
    const { message } = await fails(shell(`--device ${other}`, "plan"), "device-missing");
    expect(message).toBe(`${box.dir}/${String.raw`n\xff\xff\xc3(`} is not there`);
  });

  test("--device label=", async () => {
    const box = sandbox();
    const { device, image } = btrfsDisk(box);
    for (const place of [PRIMARY, MIRROR]) {
      editSuperblock(image, place, (block) => {
        block.fill(0, at.label, at.label + 256);
        oddBytes.copy(block, at.label);
      });
    }
    command("blockdev", "--flushbufs", device);
    const line = `--root '${box.root}' --device "$(printf 'label=${odd}')"`;
    expect((await succeeds(shell(line, "up"))).device).toBe(device);
  });

  test("--layout", async () => {
    const box = sandbox();
    const { message } = await fails(shell(`--layout ${inside(box)}`, "plan"), "layout");
    expect(message).toBe(`the layout ${box.dir}/${shown}: does not exist`);
    writeFileSync(
      Buffer.concat([Buffer.from(`${box.dir}/`), oddBytes]),
      '{"subvolumes":[{"name":"@a","path":"/a"}]}',
    );
    const { device } = box.disk(GiB);
    const line = `--root '${box.root}' --device ${device} --layout ${inside(box)}`;
    expect((await succeeds(shell(line, "up"))).mounts.map(({ path }) => path)).toContain(
      `${box.root}/a`,
    );
  });

  test("what is no path is refused in a sentence that has each byte", () => {
    for (const [line, words] of [
      [`v${odd}`, `unknown command: v${shown}`],
      [`volume plan ${odd}`, `unexpected argument "${shown}"`],
      [`volume plan --image /x --size ${odd}`, `--size "${shown}" is not a size`],
      [`volume plan --format ${odd}`, `--format "${shown}" is not known`],
    ] as const) {
      const quoted = line.replace(odd, `"$(printf '${odd}')"`);
      const { exitCode, stderr } = tryCommand("sh", "-c", `exec '${agentPath}' ${quoted}`);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(words);
    }
  });
});
