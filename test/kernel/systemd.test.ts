import { expect, test } from "bun:test";
import { command } from "../kit/command.ts";
import { fingerprint, flush, GiB } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { SystemdMachine } from "../kit/systemd/machine.ts";
import type { Boot } from "../kit/systemd/records.ts";
import { daemons, shippedUnit, soundEvent } from "../kit/systemd/units.ts";
import { checkFilesystem } from "../kit/volume.ts";

const sandbox = useSandbox();

/** A machine with the unit and all daemons, enabled. */
function server(box: Sandbox, unit = shippedUnit()): SystemdMachine {
  const machine = new SystemdMachine(box);
  machine.unit("arcbox-data.service", unit);
  machine.daemons();
  machine.enable("arcbox-data", ...daemons.map(({ name }) => name));
  return machine;
}

function ext4Disk(box: Sandbox): Disk {
  const disk = box.disk(GiB);
  command("mkfs.ext4", "-q", "-F", disk.device);
  flush(disk.device);
  return disk;
}

/** The shipped unit without one of its lines, to see that the line is needed and a test would tell. */
function unitWithout(key: string): string {
  const unit = shippedUnit().replace(new RegExp(`^${key}=.*\n`, "m"), "");
  expect(unit).not.toBe(shippedUnit());
  return unit;
}

const soundEvents = (event: string): string[] => daemons.map((daemon) => soundEvent(daemon, event));

/** Each daemon found its subvolume mounted when it started and when it stopped; then it was gone. */
function expectOrderly({ events, witness }: Boot, { image }: Disk, bootNumber: number): void {
  const count = daemons.length;
  expect(events.slice(0, count).sort()).toEqual(soundEvents(`starts as number ${bootNumber}`));
  expect(events.slice(count, 2 * count).sort()).toEqual(soundEvents("stops"));
  expect(events.slice(2 * count)).toEqual(["witness"]);
  expect(witness.slice(0, 2)).toEqual(["Result=success", "ActiveState=inactive"]);
  expect(witness.filter((line) => line.startsWith("mounted"))).toBeEmpty();
  expect(witness).not.toContain(`filesystem ${superblockFacts(image).uuid}`);
}

/** After the boot the unit had failed with this status, and no daemon had ever been started. */
function expectRefused({ services }: Boot, exitStatus: number): void {
  expect(services.get("arcbox-data")).toMatchObject({ state: "failed", exitStatus });
  for (const { name } of daemons) {
    expect(services.get(name)).toMatchObject({ state: "inactive", everStarted: false });
  }
}

test("daemons run only while their subvolumes are mounted, and find at the next boot what they wrote", async () => {
  const box = sandbox();
  const machine = server(box);
  const disk = box.disk(GiB);
  for (const bootNumber of [1, 2]) {
    const boot = await machine.boot(disk.device);
    expectOrderly(boot, disk, bootNumber);
    checkFilesystem(disk);
    expect(superblockFacts(disk.image).logRoot).toBe(0n);
  }
});

test("a disk with an ext4 stays as it is, no daemon starts, and the journal says why", async () => {
  const box = sandbox();
  const machine = server(box);
  const disk = ext4Disk(box);
  const before = fingerprint(disk.image);
  const boot = await machine.boot(
    disk.device,
    `journalctl --sync
     journalctl -u arcbox-data | grep 'foreign: .*ext'
     (systemctl status arcbox-data || true) | grep 'foreign: .*ext'
     if systemctl start docker; then exit 1; fi`,
  );
  expectRefused(boot, 4);
  expect(boot.events).toEqual(["witness"]);
  flush(disk.device);
  expect(fingerprint(disk.image)).toBe(before);
});

test("without its disk no daemon starts; once it is there, starting one brings up the volume first", async () => {
  const box = sandbox();
  const machine = server(box, shippedUnit().replace("--wait 30", "--wait 1"));
  const minor = box.disk(GiB).device.replace("/dev/loop", "");
  const boot = await machine.boot(
    null,
    `mknod /dev/plugged b 7 ${minor}
     ln -s ../../plugged /dev/disk/by-id/virtio-data
     systemctl start docker`,
  );
  expectRefused(boot, 3);
  const [, docker] = daemons;
  const events = ["starts as number 1", "stops"].map((event) => soundEvent(docker, event));
  expect(boot.events).toEqual([...events, "witness"]);
});

/** As `nofail` in /etc/fstab makes it: the machine comes up without it, and nothing waits for it. */
const LATE_VAR_LIB = `
[Unit]
Requires=slow.service
After=slow.service
[Mount]
What=/srv/var-lib
Where=/var/lib
Type=none
Options=bind,nofail
[Install]
WantedBy=local-fs.target
`;

/** Looks at the volume's unit before that mount is there. */
const SLOW = `
[Unit]
After=witness.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=bash -c "systemctl show --property=ActiveState arcbox-data >>/var/log/machine/events"
`;

async function bootWithLateVarLib(box: Sandbox, unit?: string): Promise<Boot> {
  const machine = server(box, unit);
  machine.unit("var-lib.mount", LATE_VAR_LIB);
  machine.unit("slow.service", SLOW);
  machine.write("/srv/var-lib/file", "");
  machine.enable("var-lib.mount");
  return machine.boot(box.disk(GiB).device);
}

test("a /var/lib that is mounted late is waited for, because it would hide the volume", async () => {
  const { events } = await bootWithLateVarLib(sandbox());
  expect(events[0]).toBe("ActiveState=inactive");
  expect(events.slice(1, 1 + daemons.length).sort()).toEqual(soundEvents("starts as number 1"));
});

test("a unit without RequiresMountsFor= does not wait for it", async () => {
  const { events } = await bootWithLateVarLib(sandbox(), unitWithout("RequiresMountsFor"));
  expect(events.join()).toMatch(/ActiveState=activ/);
});

test("with a unit without Before= daemons run beside the volume's start and its end", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const boot = await server(box, unitWithout("Before")).boot(disk.device);
  expect(() => expectOrderly(boot, disk, 1)).toThrow();
  for (const event of soundEvents("stops")) expect(boot.events).not.toContain(event);
});

test("with a unit without RequiredBy= daemons start although the disk is refused", async () => {
  const box = sandbox();
  const boot = await server(box, unitWithout("RequiredBy")).boot(ext4Disk(box).device);
  expect(() => expectRefused(boot, 4)).toThrow();
  for (const { name } of daemons) expect(boot.services.get(name)?.everStarted).toBeTrue();
});

test("with a unit without ExecStop= the volume is still mounted after the daemons' end", async () => {
  const box = sandbox();
  const disk = box.disk(GiB);
  const boot = await server(box, unitWithout("ExecStop")).boot(disk.device);
  expect(() => expectOrderly(boot, disk, 1)).toThrow();
  expect(boot.witness).toContain("mounted /var/lib/docker");
  expect(boot.witness).toContain(`filesystem ${superblockFacts(disk.image).uuid}`);
});
