import { readFileSync } from "node:fs";
import { join } from "node:path";

export const PROJECT = join(import.meta.dir, "../../..");

/** The unit that is shipped. */
export const shippedUnit = (): string =>
  readFileSync(join(PROJECT, "packaging/arcbox-data.service"), "utf8");

/** Stand-ins for what keeps its data on the volume. */
export const daemons = [
  { name: "containerd", subvolume: "@containerd", path: "/var/lib/containerd" },
  { name: "docker", subvolume: "@docker", path: "/var/lib/docker" },
  { name: "k3s", subvolume: "@k3s", path: "/var/lib/rancher/k3s" },
  { name: "kubelet", subvolume: "@kubelet", path: "/var/lib/kubelet" },
] as const;

type Daemon = (typeof daemons)[number];

/** What inside/daemon.sh records when it finds its subvolume mounted. */
export const soundEvent = ({ name, subvolume, path }: Daemon, event: string): string =>
  `${name} ${event}, volume active, btrfs /${subvolume} ${path}`;

export const daemonUnit = ({ name, path }: Daemon): string => `
[Service]
Type=notify
NotifyAccess=all
KillMode=mixed
ExecStart=/usr/local/lib/machine/daemon.sh ${name} ${path}
[Install]
WantedBy=multi-user.target
`;

/** The services that every machine of the tests has. */
export const ownServices: Readonly<Record<string, string>> = {
  // As most services of a real machine, it has a copy of every mount in a namespace of its own.
  bystander: `
[Unit]
After=arcbox-data.service
[Service]
PrivateTmp=yes
ProtectSystem=strict
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
`,
  witness: `
[Unit]
Before=arcbox-data.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=/usr/local/lib/machine/witness.sh
[Install]
WantedBy=multi-user.target
`,
  scenario: `
[Service]
ExecStart=/usr/local/lib/machine/scenario.sh arcbox-data ${daemons.map(({ name }) => name).join(" ")}
[Install]
WantedBy=multi-user.target
`,
};
