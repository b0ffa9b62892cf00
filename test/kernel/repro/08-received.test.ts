import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { down, plan, up } from "../../kit/agent.ts";
import { command, tryCommand } from "../../kit/command.ts";
import { GiB } from "../../kit/image.ts";
import { stepOutcomes } from "../../kit/report.ts";
import { type Disk, type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { dockerOf, expectMounted, markerIsThere, rawOf, writeMarker } from "../../kit/volume.ts";

const sandbox = useSandbox();

/** A disk whose @docker is what `btrfs receive` made of its backup; nothing is mounted. */
async function receivedDisk(box: Sandbox): Promise<Disk> {
  const disk = box.disk(GiB);
  await up(box, "--device", disk.device);
  writeMarker(box);
  const raw = rawOf(box);
  const stream = box.path("stream");
  command("btrfs", "subvolume", "snapshot", "-r", join(raw, "@docker"), join(raw, "@backup"));
  command("btrfs", "send", "-f", stream, join(raw, "@backup"));
  await down(box, "--device", disk.device);
  const top = box.mount(disk.device, "top", "-o", "subvolid=5");
  command("btrfs", "subvolume", "delete", join(top, "@docker"), join(top, "@backup"));
  command("btrfs", "receive", "-f", stream, top);
  command("mv", join(top, "@backup"), join(top, "@docker"));
  box.umount(top);
  return disk;
}

const isWritable = (path: string): boolean => {
  const { exitCode, stderr } = tryCommand("touch", path);
  if (exitCode !== 0) expect(stderr).toContain("Read-only file system");
  return exitCode === 0;
};

test("a received subvolume stays as it is, the others are up, and what the note says helps", async () => {
  const box = sandbox();
  const { device } = await receivedDisk(box);
  const report = await up(box, "--device", device);
  expectMounted(box.root);
  expect(markerIsThere(box)).toBeTrue();
  expect(stepOutcomes(report)).toMatchObject({ subvolumes: "kept" });
  expect(isWritable(join(dockerOf(box), "new"))).toBeFalse();
  expect(isWritable(join(box.root, "var/lib/kubelet/new"))).toBeTrue();
  expect(report.notes).toHaveLength(1);
  const [note = ""] = report.notes;
  expect(note).toContain("@docker is read-only");
  expect(note).not.toContain("property set");
  expect((await plan(box, "--device", device)).notes).toEqual([note]);
  // The next run says it again, and changes nothing.
  const again = await up(box, "--device", device);
  expect(again).toMatchObject({ outcome: "unchanged", notes: [note] });

  const [commands = ""] = /umount .*(?=, then volume up$)/.exec(note) ?? [];
  command("sh", "-e", "-c", commands);
  const healed = await up(box, "--device", device);
  expect(healed.notes).toBeEmpty();
  expect(isWritable(join(dockerOf(box), "new"))).toBeTrue();
  expect(markerIsThere(box)).toBeTrue();
  // What was received is still there for the next incremental stream.
  expect(command("btrfs", "subvolume", "show", join(rawOf(box), "@docker.received"))).toMatch(
    /Received UUID:\s+[0-9a-f]{8}-/,
  );
});

test("what was received is not written to in any way", async () => {
  const box = sandbox();
  const { device } = await receivedDisk(box);
  const show = (): string => command("btrfs", "subvolume", "show", join(rawOf(box), "@docker"));
  await up(box, "--device", device);
  expect(show()).toMatch(/Flags:\s+readonly/);
  expect(readFileSync(join(dockerOf(box), "marker"), "utf8")).toBe("precious\n");
});

test.each(["@docker", "@containerd", "@k3s", "@kubelet", "@cni"])(
  "%s that somebody in a container made read-only is made writable again, once, and the report says so",
  async (name) => {
    const box = sandbox();
    const { device } = box.disk(GiB);
    await up(box, "--device", device);
    command("btrfs", "property", "set", "-ts", join(rawOf(box), name), "ro", "true");
    const planned = await plan(box, "--device", device);
    expect(stepOutcomes(planned)).toMatchObject({ subvolumes: "changed" });
    await down(box, "--device", device);
    const report = await up(box, "--device", device);
    expectMounted(box.root);
    expect(stepOutcomes(report)).toMatchObject({ subvolumes: "changed", nocow: "kept" });
    expect(report.steps.find(({ step }) => step === "subvolumes")?.detail).toContain(
      "1 of 5 made writable",
    );
    expect(report.notes.join("\n")).toContain(`${name} was read-only`);
    writeFileSync(join(rawOf(box), name, "new"), "new");
    const again = await up(box, "--device", device);
    expect(again).toMatchObject({ outcome: "unchanged", notes: [] });
  },
);

test("all five read-only, and one of them missing: all of it is put right in one run", async () => {
  const box = sandbox();
  const { device } = box.disk(GiB);
  await up(box, "--device", device);
  const raw = rawOf(box);
  for (const name of ["@docker", "@containerd", "@k3s", "@kubelet"]) {
    command("btrfs", "property", "set", "-ts", join(raw, name), "ro", "true");
  }
  box.umount(join(box.root, "var/lib/cni"));
  command("btrfs", "subvolume", "delete", join(raw, "@cni"));
  const report = await up(box, "--device", device);
  expect(report.steps.find(({ step }) => step === "subvolumes")?.detail).toBe(
    "1 of 5 created, 4 of 5 made writable",
  );
  expectMounted(box.root);
  for (const name of ["docker", "containerd", "kubelet", "cni"]) {
    expect(isWritable(join(box.root, "var/lib", name, "new"))).toBeTrue();
  }
});

test("status says of each what up would do about it", async () => {
  const { status } = await import("../../kit/status.ts");
  const box = sandbox();
  const { device } = await receivedDisk(box);
  await up(box, "--device", device);
  command("btrfs", "property", "set", "-ts", join(rawOf(box), "@cni"), "ro", "true");
  const { problems } = await status(box, ["--device", device]);
  const hintOf = (name: string) => problems.find(({ message }) => message.includes(name))?.hint;
  expect(hintOf("@cni")).toContain("volume up makes it writable");
  expect(hintOf("@docker")).toContain("btrfs subvolume snapshot");
});
