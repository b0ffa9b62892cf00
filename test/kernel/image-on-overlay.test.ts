import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { down, fails, plan, up, volume } from "../kit/agent.ts";
import { command, tool } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { attachedLoops } from "../kit/loops.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { status } from "../kit/status.ts";
import { expectMounted, ourMounts } from "../kit/volume.ts";

const sandbox = useSandbox();

interface Layers {
  readonly lower: string;
  readonly upper: string;
  readonly merged: string;
}

function overlay(box: Sandbox, filesystem: "tmpfs" | "ext4"): Layers {
  const options = filesystem === "tmpfs" ? ["-t", "tmpfs", "-o", "size=3G"] : [];
  const source = filesystem === "tmpfs" ? "tmpfs" : box.disk(3 * GiB).device;
  if (filesystem === "ext4") command("mkfs.ext4", "-q", source);
  const base = box.mount(source, "base", ...options);
  const [lower, upper, work] = ["lower", "upper", "work"].map((name) => `${base}/${name}`) as [
    string,
    string,
    string,
  ];
  command("mkdir", lower, upper, work);
  writeFileSync(`${lower}/disk.img`, "");
  command("truncate", "--size=600M", `${lower}/disk.img`);
  const layers = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  return { lower, upper, merged: box.mount("overlay", "merged", "-t", "overlay", "-o", layers) };
}

const mountedOnce = (box: Sandbox): void => {
  expect(
    [...attachedLoops(box.dir).values()].filter((file) => file.endsWith("/data.img")),
  ).toHaveLength(1);
  expectMounted(box.root);
  expect(ourMounts(box, box.path("second"))).toEqual([]);
};

test.each(["tmpfs", "ext4"] as const)(
  "an image in the upper layer and its name on the overlay (%s) are one disk, in either order",
  async (filesystem) => {
    const box = sandbox();
    const { upper, merged } = overlay(box, filesystem);
    const names = [`${upper}/data.img`, `${merged}/data.img`] as const;
    command("truncate", "--size=600M", names[0]);
    for (const [one, other] of [names, names.toReversed() as [string, string]]) {
      const { device } = await up(box, "--image", one);
      for (const verb of ["plan", "up"] as const) {
        const args = ["--image", other, "--root", box.path("second"), "--format", "any"];
        const { message, hint } = await fails(volume(box, verb, args), "busy");
        expect(message).toContain(device ?? "");
        expect(message).toContain("overlay");
        expect(hint).toContain(`--image ${one}`);
      }
      mountedOnce(box);
      expect((await up(box, "--image", one)).outcome).toBe("unchanged");
      await down(box, "--image", one);
      expect((await plan(box, "--image", other)).error).toBeNull();
    }
  },
);

test("an image whose layer cannot be reached from here is not mounted a second time either", async () => {
  const box = sandbox();
  const { upper, merged } = overlay(box, "ext4");
  command("truncate", "--size=600M", `${upper}/data.img`);
  const { device } = await up(box, "--image", `${upper}/data.img`);
  const hide = `umount --lazy '${box.path("base")}' && exec "$@"`;
  const prefix = [tool("unshare"), "--mount", "sh", "-c", hide, "sh"];
  const args = ["--image", `${merged}/data.img`, "--root", box.path("second")];
  const { message } = await fails(volume(box, "up", args, { prefix }), "busy");
  expect(message).toContain(device ?? "");
  // Another file there, as large, is another disk.
  command("truncate", "--size=600M", `${upper}/other.img`);
  const others = ["--image", `${merged}/other.img`, "--root", box.path("second")];
  expect((await volume(box, "plan", others, { prefix })).report.error).toBeNull();
});

test("while the mounted volume is written to, the other name is found all the same", async () => {
  const box = sandbox();
  const { upper, merged } = overlay(box, "tmpfs");
  command("truncate", "--size=600M", `${upper}/data.img`);
  await up(box, "--image", `${upper}/data.img`);
  const target = `${box.root}/var/lib/docker/busy`;
  await box.spawnUntilReady([
    "/usr/bin/python3",
    "-c",
    `import os
f = os.open(${JSON.stringify(target)}, os.O_CREAT | os.O_RDWR)
print("ready", flush=True)
while True: os.pwrite(f, os.urandom(4096), 0); os.fsync(f)`,
  ]);
  for (let run = 0; run < 8; run++) {
    await fails(volume(box, "plan", ["--image", `${merged}/data.img`]), "busy");
  }
});

test("two loop devices over the two names are the same bytes", async () => {
  const box = sandbox();
  const { upper, merged } = overlay(box, "tmpfs");
  command("truncate", "--size=600M", `${upper}/data.img`);
  await up(box, "--image", `${upper}/data.img`);
  const second = box.attach(`${merged}/data.img`);
  const args = ["--device", second, "--root", box.path("second")];
  await fails(volume(box, "up", args), "busy");
  const { notes } = await status(box, ["--device", second]);
  expect(notes.join()).toContain("is the same disk, and is mounted");
});

test("an image of the lower layer is not copied up while it is mounted", async () => {
  const box = sandbox();
  const { lower, merged } = overlay(box, "tmpfs");
  await up(box, "--image", `${lower}/disk.img`);
  await fails(volume(box, "up", ["--image", `${merged}/disk.img`]), "busy");
  await down(box, "--image", `${lower}/disk.img`);
  await up(box, "--image", `${merged}/disk.img`);
  expectMounted(box.root);
});

test("two files of an overlay that were made alike are two disks", async () => {
  const box = sandbox();
  const { upper, merged } = overlay(box, "tmpfs");
  command("truncate", "--size=600M", `${upper}/one.img`, `${upper}/two.img`);
  await up(box, "--image", `${merged}/one.img`);
  await up(box, "--image", `${upper}/two.img`, "--root", box.path("second"));
  expectMounted(box.root);
  expectMounted(box.path("second"));
  await down(box, "--image", `${upper}/two.img`, "--root", box.path("second"));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${box.path("second")}/`);
});
