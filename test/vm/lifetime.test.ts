import { expect, setDefaultTimeout, test } from "bun:test";
import { fails, succeeds } from "../kit/agent.ts";
import { fingerprint, GiB, nonZeroBlocks } from "../kit/image.ts";
import { parseMounts } from "../kit/mountinfo.ts";
import { stepOutcomes } from "../kit/report.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { GUEST_LIMIT_MS, Guest } from "../kit/vm/guest.ts";
import { expectMounted, nocowPlaces } from "../kit/volume.ts";

const sandbox = useSandbox();
setDefaultTimeout(GUEST_LIMIT_MS);

/** All that the contract names is mounted and flagged, below the guest's own root. */
async function expectUp(guest: Guest): Promise<void> {
  const table = parseMounts(await guest.output("cat /proc/self/mountinfo"));
  expectMounted(
    "/",
    table.filter(({ type }) => type === "btrfs"),
  );
  const folders = nocowPlaces("/");
  const flags = (await guest.output(`lsattr -d ${folders.join(" ")}`)).trim().split("\n");
  expect(flags.map((line) => line.split(" ")[0]?.includes("C"))).toEqual(folders.map(() => true));
}

test("the usual disk lives through a first boot, a second one that writes nothing, growth and the end", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const first = await Guest.boot(box, [{ image }]);
  const cold = await succeeds(first.volume("up"));
  expect(cold).toMatchObject({ device: "/dev/vdb", verdict: "blank" });
  await expectUp(first);
  await first.output("echo precious >/var/lib/docker/marker");
  await succeeds(first.volume("down"));
  await first.cut();
  const before = fingerprint(image);

  const second = await Guest.boot(box, [{ image }]);
  const warm = await succeeds(second.volume("up"));
  expect(warm).toMatchObject({ verdict: "btrfs", uuid: cold.uuid });
  expect(stepOutcomes(warm)).toMatchObject({ filesystem: "kept", capacity: "kept", nocow: "kept" });
  await expectUp(second);
  expect((await succeeds(second.volume("up"))).outcome).toBe("unchanged");
  expect(await second.output("cat /var/lib/docker/marker")).toBe("precious\n");
  // What a boot changed would otherwise reach the disk with the next commit, 30 s later.
  await second.output("sync");
  expect(fingerprint(image)).toBe(before);

  await second.monitor("block_resize", { "node-name": "disk0", size: 2 * GiB });
  await second.output(`until [ "$(cat /sys/block/vdb/size)" = ${(2 * GiB) / 512} ]; do :; done`);
  const grown = await succeeds(second.volume("up"));
  expect(grown).toMatchObject({ verdict: "mounted", bytes: 2 * GiB });
  expect(stepOutcomes(grown)).toMatchObject({ mount: "kept", capacity: "changed" });
  expect(await second.output("stat -f -c '%b %S' /run/arcbox/data")).toBe(`${GiB / 2048} 4096\n`);

  await succeeds(second.volume("down"));
  expect(await second.output("grep -c btrfs /proc/self/mountinfo || true")).toBe("0\n");
  await second.cut();
  expect(superblockFacts(image).deviceBytes).toBe(2 * GiB);
});

test("the kernel command line names the disk and forbids formatting; a flag beats it", async () => {
  const box = sandbox();
  const other = box.image(GiB);
  const guest = await Guest.boot(
    box,
    [{ image: other }, { image: box.image(GiB), serial: "data" }],
    "arcbox.docker_data_device= arcbox.docker_data_device=serial=data arcbox.data_format=never",
  );
  const refused = await fails(guest.volume("up"), "blank");
  expect(refused.report.device).toBe("/dev/vdc");
  const report = await succeeds(guest.volume("up", "--format", "blank"));
  expect(report).toMatchObject({ device: "/dev/vdc", verdict: "blank" });
  await guest.cut();
  expect(nonZeroBlocks(other)).toBeEmpty();
});

test("a disk plugged in while it is waited for by its serial is used", async () => {
  const box = sandbox();
  const guest = await Guest.boot(box, []);
  const up = "arcbox-agent volume up --device serial=late --wait 60 --json";
  // It waits from when it watches; the inotify descriptor shows that.
  await guest.output(
    `(${up} >/tmp/report 2>/tmp/errors; echo $? >/tmp/status) &
    until ls -l /proc/[0-9]*/fd | grep -q inotify; do :; done`,
  );
  const filename = box.image(GiB);
  await guest.monitor("blockdev-add", { driver: "file", "node-name": "late", filename });
  const device = { driver: "virtio-blk-pci", drive: "late", serial: "late" };
  await guest.monitor("device_add", { ...device, id: "late" });
  await guest.output("until [ -s /tmp/status ]; do :; done");
  expect(await guest.output("cat /tmp/status /tmp/errors")).toBe("0\n");
  expect(await guest.output("cat /tmp/report")).toContain('"device": "/dev/vdb"');
  await expectUp(guest);
});
