import { expect, setDefaultTimeout, test } from "bun:test";
import { fails, succeeds } from "../kit/agent.ts";
import { GiB, nonZeroBlocks } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { GUEST_LIMIT_MS, Guest } from "../kit/vm/guest.ts";
import type { GuestDisk } from "../kit/vm/qemu-arguments.ts";

const sandbox = useSandbox();
setDefaultTimeout(GUEST_LIMIT_MS);

test.each([
  ["first", ["data", "other"], "/dev/vdb"],
  ["second", ["other", "data"], "/dev/vdc"],
] as const)("serial= finds its disk when it is the %s", async (_, serials, device) => {
  const box = sandbox();
  const disks = serials.map((serial) => ({ serial, image: box.image(GiB, `${serial}.img`) }));
  const guest = await Guest.boot(box, disks);
  const report = await succeeds(guest.volume("up", "--device", "serial=data"));
  expect(report).toMatchObject({ device, verdict: "blank", outcome: "changed" });
  await succeeds(guest.volume("down", "--device", "serial=data"));
  await guest.cut();
  expect(superblockFacts(box.path("data.img")).uuid).toBe(report.uuid ?? "none");
  expect(nonZeroBlocks(box.path("other.img"))).toBeEmpty();
});

test("serial= that no disk has is missing, that two disks have is ambiguous: both list what was seen", async () => {
  const box = sandbox();
  const disks: readonly GuestDisk[] = [
    { serial: "single", image: box.image(GiB) },
    { serial: "twin", image: box.image(2 * GiB) },
    { serial: "twin", image: box.image(3 * GiB) },
    { image: box.image(4 * GiB) },
  ];
  const guest = await Guest.boot(box, disks);
  const twins = ["/dev/vdc (2 GiB, serial=twin)", "/dev/vdd (3 GiB, serial=twin)"];
  const missing = await fails(
    guest.volume("up", "--device", "serial=twi", "--wait", "0"),
    "device-missing",
  );
  for (const disk of ["/dev/vdb (1 GiB, serial=single)", ...twins, "/dev/vde (4 GiB)"]) {
    expect(missing.message).toContain(disk);
  }
  const ambiguous = await fails(guest.volume("up", "--device", "serial=twin"), "device-ambiguous");
  for (const disk of twins) expect(ambiguous.message).toContain(disk);
  expect(ambiguous.message).not.toContain("/dev/vdb");
  await guest.cut();
  for (const { image } of disks) expect(nonZeroBlocks(image)).toBeEmpty();
});

test("serial= finds NVMe and SCSI disks, and lists theirs", async () => {
  const box = sandbox();
  const guest = await Guest.boot(box, [
    { serial: "on-nvme", bus: "nvme", image: box.image(GiB) },
    { serial: "on-scsi", bus: "scsi", image: box.image(GiB) },
  ]);
  for (const [serial, device] of [
    ["on-nvme", "/dev/nvme0n1"],
    ["on-scsi", "/dev/sda"],
  ] as const) {
    const report = await succeeds(guest.volume("plan", "--device", `serial=${serial}`));
    expect(report.device).toBe(device);
  }
  const missing = await fails(
    guest.volume("plan", "--device", "serial=none", "--wait", "0"),
    "device-missing",
  );
  expect(missing.message).toContain("/dev/nvme0n1 (1 GiB, serial=on-nvme)");
  expect(missing.message).toContain("/dev/sda (1 GiB, serial=on-scsi)");
});
