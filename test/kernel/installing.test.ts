import { expect, test } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { GiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { SystemdMachine } from "../kit/systemd/machine.ts";
import { daemons, PROJECT, soundEvent } from "../kit/systemd/units.ts";

const sandbox = useSandbox();

/** The blocks of commands in packaging/README.md. */
function commands(): string[] {
  const text = readFileSync(join(PROJECT, "packaging/README.md"), "utf8");
  return [...text.matchAll(/^```\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

test("what packaging/README.md says installs it, starts it, and takes it away without a trace", async () => {
  const [install = "", start = "", remove = "", ...more] = commands();
  expect(more).toBeEmpty();
  const box = sandbox();
  const machine = new SystemdMachine(box, "/srv/project/dist/arcbox-agent");
  for (const folder of ["man", "packaging"]) {
    cpSync(join(PROJECT, folder), machine.path(`/srv/project/${folder}`), { recursive: true });
  }
  machine.daemons("/srv/daemons");
  const { events, said } = await machine.boot(
    box.disk(GiB).device,
    `files() { find /etc /usr/local /var/lib -not -type d | sort; }
     files >/tmp/before
     mv /dev/disk/by-id/virtio-data /dev/disk/by-id/scsi-data
     cd /srv/project
     ${install}
     systemd-analyze verify --man=no arcbox-data.service
     test -s /usr/local/share/bash-completion/completions/arcbox-agent
     ${start.replaceAll("YOUR-DISK", "scsi-data")}
     findmnt --noheadings --output=FSROOT --mountpoint /var/lib/docker
     systemctl show --property=TimeoutStartUSec arcbox-data.service

     echo --- daemons are installed later
     cp /srv/daemons/* /etc/systemd/system
     systemctl daemon-reload
     systemctl start ${daemons.map(({ name }) => name).join(" ")}

     echo --- away
     ${remove}
     (cd /srv/daemons; for unit in *; do rm /etc/systemd/system/$unit; done)
     grep btrfs /proc/self/mountinfo || echo nothing is mounted
     files | diff /tmp/before - && echo no file is left`,
  );
  expect(said).toContain("\n/@docker\n");
  // A format or a repair takes as long as it takes.
  expect(said).toContain("\nTimeoutStartUSec=infinity\n");
  expect(said).toContain("\nnothing is mounted\n");
  expect(said).toEndWith("\nno file is left\n");
  const count = daemons.length;
  const soundEvents = (event: string): string[] =>
    daemons.map((daemon) => soundEvent(daemon, event));
  expect(events.slice(0, count).sort()).toEqual(soundEvents("starts as number 1"));
  expect(events.slice(count, 2 * count).sort()).toEqual(soundEvents("stops"));
});
