import { expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { agent, up } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { replaceMkfs } from "../kit/mkfs.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { at, editSuperblock, MIRROR, PRIMARY } from "../kit/superblock.ts";
import { onTerminal } from "../kit/terminal.ts";
import { btrfsDisk, dockerOf } from "../kit/volume.ts";

/** Names that somebody else chose must not become commands of whoever's terminal or script reads them. */

const sandbox = useSandbox();

/** Clears the screen, sets a title, ends a line and a string, turns the writing, in 8 bits too. */
const evil = "\x1b[2J\x1b]0;t\x07\"q'\\\n\r\tx\u202ey\u2066\u009b31m\u0085\u007f\u2028";
const evilBytes = Buffer.concat([Buffer.from(evil), Buffer.from([0xff, 0xfe, 0x9b, 0xc3, 0x28])]);

const obeyed = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** No character that a terminal obeys, but the ends of lines. */
function expectHarmless(text: string): void {
  const found = obeyed.exec(text.replaceAll("\n", ""));
  expect(
    found === null ? "harmless" : JSON.stringify(text.slice(Math.max(0, found.index - 60))),
  ).toBe("harmless");
}

/** Says the same for a person and as JSON, both harmless; gives what the JSON says. */
async function said(box: Sandbox, action: string, ...args: readonly string[]): Promise<string> {
  const options = args.includes("--root") ? [] : ["--root", box.root];
  const argv = ["volume", action, ...options, ...args];
  const forPerson = await agent(argv);
  expectHarmless(forPerson.stdout);
  expectHarmless(forPerson.stderr);
  const forScript = await agent([...argv, "--json"]);
  expectHarmless(forScript.stdout);
  expect(forScript.stderr).toBe("");
  expect(forScript.exitCode).toBe(forPerson.exitCode);
  return JSON.stringify(JSON.parse(forScript.stdout));
}

function labelled(box: Sandbox): Disk {
  const disk = btrfsDisk(box);
  for (const place of [PRIMARY, MIRROR]) {
    editSuperblock(disk.image, place, (block) => {
      block.fill(0, at.label, at.label + 256);
      evilBytes.copy(block, at.label);
    });
  }
  command("blockdev", "--flushbufs", disk.device);
  return disk;
}

/** The escape character as JSON shows it. */
const shownEscape = JSON.stringify("\x1b").slice(1, -1);

test("a label is shown, never obeyed", async () => {
  const box = sandbox();
  const { device } = labelled(box);
  expect(await said(box, "status", "--device", device)).toContain(shownEscape);
  expect(await said(box, "up", "--device", "label=nobody", "--wait", "0")).toContain(shownEscape);
  await said(box, "plan", "--device", device);
  await said(box, "up", "--device", device);
  await said(box, "status", "--device", device);
  await said(box, "down", "--device", device);
});

test("a label is not obeyed by a terminal either", async () => {
  const box = sandbox();
  const { device } = labelled(box);
  const argv = ["volume", "status", "--root", box.root, "--device", device];
  const { stdout } = await agent(argv, { prefix: onTerminal(200) });
  expect(stdout).toContain("\\x1b[2J");
  // The colours are the program's own.
  const colours = [0, 2, 31, 32, 33].map((code) => `\x1b[${code}m`);
  expectHarmless(
    colours.reduce((text, colour) => text.replaceAll(colour, ""), stdout).replaceAll("\r\n", "\n"),
  );
});

test("the paths that were given are shown, never obeyed", async () => {
  const box = sandbox();
  const [root, image] = [box.path(`root ${evil}`), box.path(`image ${evil}`)];
  const args = ["--root", root, "--image", image, "--size", "1G"];
  expect(await said(box, "plan", ...args)).toContain(shownEscape);
  expect(await said(box, "up", ...args)).toContain(shownEscape);
  expect(await said(box, "status", "--root", root, "--image", image)).toContain(shownEscape);
  expect(await said(box, "down", "--root", root, "--image", image)).toContain(shownEscape);
  await said(box, "up", "--device", `/dev/${evil}`, "--wait", "0");
  await said(box, evil, "--device", evil);
  await said(box, "up", "--layout", box.path(evil));
});

test("what mkfs.btrfs says is shown, never obeyed", async () => {
  const box = sandbox();
  const octal = [...evilBytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  replaceMkfs(box, `printf 'first\\n${octal} the reason' >&2; exit 1`);
  const error = await said(box, "up", "--device", box.disk(GiB).device);
  expect(error).toContain("the reason");
});

/** A copy of a program whose process has a name that nobody would choose. */
function renamed(box: Sandbox, name: string): string {
  const path = box.path('\x1b[31m\n"\u202e');
  copyFileSync(tool(name), path);
  chmodSync(path, 0o755);
  return path;
}

test("the name of a process that holds the lock is shown, never obeyed", async () => {
  const box = sandbox();
  const { device } = btrfsDisk(box);
  const hold = 'exec "$0" --close "$1" sh -c "echo held; exec setpriv --pdeathsig KILL sleep 60"';
  await box.spawnUntilReady(["sh", "-c", hold, renamed(box, "flock"), device]);
  expect(await said(box, "status", "--device", device)).toContain(shownEscape);
});

test("the name of a process that works in the volume is shown, never obeyed", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  const hold = 'echo ready; exec "$0" 60';
  await box.spawnUntilReady(["sh", "-c", hold, renamed(box, "sleep")], { cwd: dockerOf(box) });
  // The shell has said that it is ready before it became the other program.
  let answer = "";
  while (!answer.includes(shownEscape)) answer = await said(box, "down", "--device", device);
  expect(answer).toContain("busy");
});

test("the source of a mount is shown, never obeyed", async () => {
  const box = sandbox();
  mkdirSync(dockerOf(box), { recursive: true });
  box.mount(evil, dockerOf(box), "-t", "tmpfs");
  const { device } = box.disk(GiB);
  expect(await said(box, "up", "--device", device)).toContain(shownEscape);
  await said(box, "plan", "--device", device);
  await said(box, "status", "--device", device);
});

test.each([
  ["more of the device given away than it has", 217, 2n ** 62n],
  ["a size beyond all numbers", at.deviceBytes, 2n ** 64n - 1n],
  ["a generation beyond all numbers", at.generation, 2n ** 64n - 1n],
  ["more used than numbers can tell", 120, 2n ** 63n],
])(
  "status of a superblock that says nonsense (%s) says nothing of it",
  async (_, offset, value) => {
    const box = sandbox();
    const { device, image } = btrfsDisk(box);
    editSuperblock(image, PRIMARY, (block) => void block.writeBigUInt64LE(value, offset));
    command("blockdev", "--flushbufs", device);
    // The kit refuses a count below zero, or one that a script would read as another.
    const { bytes, superblocks } = await status(box, ["--device", device]);
    expect([bytes.filesystem, bytes.used, bytes.unallocated, superblocks[0]?.generation]).toContain(
      null,
    );
    await said(box, "status", "--device", device);
  },
);
