import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fails, up, volume } from "../kit/agent.ts";
import { command, tryCommand } from "../kit/command.ts";
import { GiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { dockerOf, expectMounted, ourMounts, rawOf } from "../kit/volume.ts";

/** A backup freezes a volume, and while it is frozen whoever writes waits and cannot even be killed. */
const sandbox = useSandbox();

const LIMIT_MS = 5000;

interface Due {
  readonly what: string;
  readonly make: (box: Sandbox, device: string) => void;
}

const dues: readonly Due[] = [
  {
    what: "a database's directory",
    make: (box) => rmSync(join(dockerOf(box), "buildkit"), { recursive: true }),
  },
  {
    what: "a subvolume",
    make: (box) => {
      box.umount(join(box.root, "var/lib/cni"));
      command("btrfs", "subvolume", "delete", join(rawOf(box), "@cni"));
    },
  },
  {
    what: "a subvolume that is read-only",
    make: (box) =>
      command("btrfs", "property", "set", "-ts", join(rawOf(box), "@k3s"), "ro", "true"),
  },
  {
    what: "more of the disk",
    make: (box, device) => {
      command("truncate", "--size", String(2 * GiB), box.path("disk.img"));
      command("losetup", "--set-capacity", device);
    },
  },
];

test.each(dues.map((due) => [due.what, due] as const))(
  "up does not wait for a frozen volume that lacks %s",
  async (_, { make }) => {
    const box = sandbox();
    const image = box.path("disk.img");
    const { device } = await up(box, "--image", image, "--size", String(GiB));
    make(box, device ?? "");
    const before = ourMounts(box);
    // By a mount of its own: what is frozen goes with none.
    const thaw = `mount ${device} ${box.folder("thaw")}; fsfreeze -u ${box.path("thaw")}`;
    box.onEnd(() => tryCommand("sh", "-c", thaw));
    command("fsfreeze", "--freeze", rawOf(box));
    const run = await volume(box, "up", ["--image", image]);
    expect(run.ms).toBeLessThan(LIMIT_MS);
    const error = await fails(Promise.resolve(run), "busy");
    expect(ourMounts(box)).toEqual(before);
    // The hint, done literally, helps.
    command("sh", "-c", /fsfreeze --unfreeze .*/.exec(error.hint ?? "")?.[0] ?? "false");
    expect((await up(box, "--image", image)).outcome).toBe("changed");
    expectMounted(box.root);
  },
);
