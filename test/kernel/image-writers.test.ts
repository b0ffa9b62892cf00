import { expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, statSync } from "node:fs";
import { down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, GiB, MiB, writeAt } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { ourMounts } from "../kit/volume.ts";

const sandbox = useSandbox();

/** A Python program that says "ready" and then waits; its user is nobody where that is asked. */
const running = (box: Sandbox, program: string, asNobody = false) =>
  box.spawnUntilReady([
    ...(asNobody
      ? (["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] as const)
      : (["env"] as const)),
    "/usr/bin/python3",
    "-c",
    `import fcntl, mmap, os, signal, sys
${program}
print("ready", flush=True)
signal.pause()`,
  ]);

const imageOf = async (box: Sandbox, kind: string): Promise<string> => {
  const image = box.path("data.img");
  if (kind === "blank") return box.image(GiB, "data.img");
  await up(box, "--image", image, "--size", "1G");
  await down(box, "--image", image);
  return image;
};

const writers: readonly (readonly [string, string])[] = [
  ["that has it open for writing, as cp has", "f = open(PATH, 'r+b')"],
  ["that only appends to it, as a shell does", "f = os.open(PATH, os.O_WRONLY | os.O_APPEND)"],
  [
    "that has a copy of such a descriptor",
    "g = os.open(PATH, os.O_WRONLY); os.dup2(g, 700); os.close(g)",
  ],
];

test.each(["blank", "prepared"].flatMap((kind) => writers.map((one) => [kind, ...one] as const)))(
  "a %s image is busy because of a program %s, which is named",
  async (kind, _, program) => {
    const box = sandbox();
    const image = await imageOf(box, kind);
    const before = fingerprint(image);
    const writer = await running(box, program.replace("PATH", JSON.stringify(image)));
    for (const verb of ["plan", "up"] as const) {
      const args = ["--image", image, "--size", "2G", "--format", "any"];
      const { message, hint } = await fails(volume(box, verb, args), "busy");
      expect(message).toContain(`process ${writer.pid} (python3) of root`);
      expect(message).toContain("for writing");
      expect(hint).toContain(`kill ${writer.pid}`);
    }
    expect(statSync(image).size).toBe(GiB);
    expect(fingerprint(image)).toBe(before);
    expect([ourMounts(box), attachedLoops(box.dir).size]).toEqual([[], 0]);
    writer.kill("SIGKILL");
    await writer.exited;
    expect((await up(box, "--image", image, "--size", "2G")).bytes).toBe(2 * GiB);
  },
);

test.each([
  ["a blank disk that a program writes to", (box: Sandbox) => box.disk(GiB)],
  [
    "a disk of something unknown that a program writes to",
    (box: Sandbox) => {
      const disk = box.disk(GiB);
      writeAt(disk.image, 5000, Buffer.from("x"));
      return disk;
    },
  ],
])("%s, or to the file that it shows, is not formatted", async (_, make) => {
  const box = sandbox();
  const disk = make(box);
  const before = fingerprint(disk.image);
  for (const path of [disk.device, disk.image]) {
    const writer = await running(box, `f = os.open(${JSON.stringify(path)}, os.O_WRONLY)`);
    for (const verb of ["plan", "up"] as const) {
      const args = ["--device", disk.device, "--format", "any"];
      const { message, hint } = await fails(volume(box, verb, args), "busy");
      expect(message).toContain(`process ${writer.pid} (python3) of root has it open for writing`);
      expect(hint).toContain(`kill ${writer.pid}`);
    }
    writer.kill("SIGKILL");
    await writer.exited;
  }
  expect(fingerprint(disk.image)).toBe(before);
  const reader = await running(box, `f = os.open(${JSON.stringify(disk.device)}, os.O_RDONLY)`);
  await up(box, "--device", disk.device, "--format", "any");
  reader.kill("SIGKILL");
});

test("a disk is not formatted while a program writes to another device with its bytes", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const part = box.attach(disk.image, "--offset", String(100 * MiB));
  await running(box, `f = os.open(${JSON.stringify(part)}, os.O_RDWR)`);
  const { message } = await fails(volume(box, "up", ["--device", disk.device]), "busy");
  expect(message).toContain(disk.device);
});

test("an image of which only a memory map for writing is left is busy", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  await running(
    box,
    `f = os.open(${JSON.stringify(image)}, os.O_RDWR)
m = mmap.mmap(f, 4096)
os.close(f)
os.closerange(3, 100)`,
  );
  const { message, hint } = await fails(volume(box, "up", ["--image", image]), "busy");
  expect(message).toContain("another program has it open for writing");
  expect(hint).not.toContain("kill");
});

test("half a copy is busy while it is written, and not said to be cut off", async () => {
  const box = sandbox();
  const whole = await imageOf(box, "prepared");
  const copy = box.path("copy.img");
  command("dd", `if=${whole}`, `of=${copy}`, "bs=1M", "count=500", "status=none");
  const fd = openSync(copy, "r+");
  const { message } = await fails(volume(box, "up", ["--image", copy]), "busy");
  expect(message).toContain(copy);
  closeSync(fd);
  await fails(volume(box, "up", ["--image", copy]), "shrunk");
});

test("readers of an image, and a writer of another one, are no reason to hesitate", async () => {
  const box = sandbox();
  const image = await imageOf(box, "prepared");
  await running(
    box,
    `f = os.open(${JSON.stringify(image)}, os.O_RDONLY)
m = mmap.mmap(f, 4096, prot=mmap.PROT_READ)
g = open(${JSON.stringify(box.image(MiB))}, "r+b")`,
  );
  expect((await plan(box, "--image", image)).error).toBeNull();
  await up(box, "--image", image);
});

test("an attached image goes on, whoever has it open for writing besides", async () => {
  const box = sandbox();
  const image = await imageOf(box, "blank");
  await up(box, "--image", image);
  const fd = openSync(image, "r+");
  expect((await up(box, "--image", image)).outcome).toBe("unchanged");
  expect((await up(box, "--image", image, "--size", "2G")).bytes).toBe(2 * GiB);
  closeSync(fd);
  await down(box, "--image", image);
});

test("who opens an image for writing again and again never ends the command", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const racer = await box.spawnUntilReady([
    "python3",
    "-c",
    `import os
print("ready", flush=True)
while True: os.close(os.open(${JSON.stringify(image)}, os.O_WRONLY))`,
  ]);
  for (let run = 0; run < 20; run++) {
    const { report } = await volume(box, "plan", ["--image", image]);
    expect(report.error?.code ?? "none").toMatch(/^(none|busy)$/);
  }
  racer.kill("SIGKILL");
});

test.each([
  ["a lock of bytes", "fcntl.lockf(f, fcntl.LOCK_SH)"],
  [
    "a lock of the open file",
    "fcntl.fcntl(f, 37, __import__('struct').pack('hhqqi4x', 0, 0, 0, 0, 0))",
  ],
])(
  "an image that a user who may only read it has under %s is busy: who it is and what helps is said",
  async (_, how) => {
    const box = sandbox();
    const image = await imageOf(box, "prepared");
    chmodSync(box.dir, 0o711);
    chmodSync(image, 0o644);
    // A reader that locks nothing is not mistaken for it.
    const reader = await running(box, `f = open(${JSON.stringify(image)}, "rb")`);
    const locker = await running(
      box,
      `f = os.open(${JSON.stringify(image)}, os.O_RDONLY)\n${how}`,
      true,
    );
    for (const verb of ["plan", "up"] as const) {
      const { message, hint } = await fails(volume(box, verb, ["--image", image]), "busy");
      expect(message).toContain(`process ${locker.pid} (python3) of the user 65534 has locked it`);
      expect(message).not.toContain(String(reader.pid));
      expect(hint).toContain(`kill ${locker.pid}`);
      expect(hint).toContain(`chmod go-r ${image}`);
    }
    // The hint, done as it is written.
    command("kill", String(locker.pid));
    await locker.exited;
    command("chmod", "go-r", image);
    await up(box, "--image", image);
  },
);

test("a lock of root's on an image for root alone has no word about other readers", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  chmodSync(image, 0o600);
  await running(box, `f = open(${JSON.stringify(image)}, "rb"); fcntl.lockf(f, fcntl.LOCK_SH)`);
  const { hint } = await fails(volume(box, "up", ["--image", image]), "busy");
  expect(hint).not.toContain("chmod");
  expect(readFileSync(image).subarray(65536, 65544)).toEqual(Buffer.alloc(8));
});

test("what an image on an overlay has open for writing is seen as well", async () => {
  const box = sandbox();
  const base = box.mount("tmpfs", "base", "-t", "tmpfs", "-o", "size=2G");
  command("mkdir", `${base}/lower`, `${base}/upper`, `${base}/work`);
  const options = `lowerdir=${base}/lower,upperdir=${base}/upper,workdir=${base}/work`;
  const merged = box.mount("overlay", "merged", "-t", "overlay", "-o", options);
  const image = `${merged}/data.img`;
  command("truncate", "--size=1G", image);
  writeAt(image, 0, Buffer.alloc(512));
  const fd = openSync(image, "r+");
  await fails(volume(box, "up", ["--image", image]), "busy");
  closeSync(fd);
  await up(box, "--image", image);
  await down(box, "--image", image);
});
