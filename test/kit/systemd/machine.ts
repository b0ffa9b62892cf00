import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { agentPath } from "../agent.ts";
import { newCgroup } from "../cgroup.ts";
import { command, tool, tryCommand } from "../command.ts";
import type { Sandbox } from "../sandbox.ts";
import { type Boot, clearRecords, readRecords } from "./records.ts";
import { daemons, daemonUnit, ownServices } from "./units.ts";

const SYSTEM_UNITS = "/usr/lib/systemd/system";
const UNITS = "/etc/systemd/system";
const RECORDS = "/var/log/machine";
const JOURNAL = "/var/log/journal";
/** What systemd and boot.sh expect to be there. */
const FOLDERS = ["dev", "none", "old", "proc", "run", "sys", "usr", "tmp", "var/lib", "var/tmp"];

/** From power-on to power-off takes a second. */
const BOOT_LIMIT_MS = 30_000;

/**
 * A machine with this system's programs and its systemd as PID 1, in namespaces of its own. Its root
 * is a folder of the sandbox, so what is written there is still there at the next boot.
 */
export class SystemdMachine {
  readonly #box: Sandbox;
  readonly #root: string;
  readonly #agentPlace: string;

  /** `agentPlace` is where the machine has the executable under test. */
  constructor(box: Sandbox, agentPlace = "/usr/local/bin/arcbox-agent") {
    this.#box = box;
    this.#root = box.folder("machine");
    this.#agentPlace = agentPlace;
    for (const folder of [...FOLDERS, JOURNAL, "/usr/local/bin"]) {
      mkdirSync(this.path(folder), { recursive: true });
    }
    for (const name of ["bin", "lib", "lib64", "sbin"]) symlinkSync(`usr/${name}`, this.path(name));
    this.write("/etc/passwd", "root:x:0:0::/root:/bin/bash\n");
    this.write("/etc/group", "root:x:0:\n");
    this.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    this.write(agentPlace, "");
    cpSync(join(import.meta.dir, "inside"), this.path("/usr/local/lib/machine"), {
      recursive: true,
    });
    this.#takeSystemUnits();
    for (const [name, text] of Object.entries(ownServices)) this.unit(`${name}.service`, text);
    this.enable(...Object.keys(ownServices));
  }

  /** Of the system's own units all targets and the journal, so that nothing else of it runs. */
  #takeSystemUnits(): void {
    const journal = ["systemd-journald.socket", "systemd-journald-dev-log.socket"];
    const services = ["systemd-journald.service", "systemd-journal-flush.service"];
    const taken = [...journal, ...services, "systemd-poweroff.service"];
    const units = this.path("units");
    for (const name of readdirSync(SYSTEM_UNITS)) {
      if (!name.endsWith(".target") && !taken.includes(name)) continue;
      cpSync(join(SYSTEM_UNITS, name), join(units, name), { verbatimSymlinks: true });
    }
    for (const [target, wanted] of [
      ["sysinit.target", services],
      ["sockets.target", journal],
    ] as const) {
      mkdirSync(join(units, `${target}.wants`));
      for (const name of wanted) symlinkSync(`../${name}`, join(units, `${target}.wants`, name));
    }
    mkdirSync(this.path(UNITS), { recursive: true });
    symlinkSync(`${SYSTEM_UNITS}/multi-user.target`, this.path(`${UNITS}/default.target`));
  }

  /** Where a file of the machine is while it is off. In /usr it has nothing of its own but /usr/local. */
  path(path: string): string {
    return join(this.#root, path.replace(/^\/usr\/local\//, "local/"));
  }

  write(path: string, text: string): void {
    const file = this.path(path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  unit(name: string, text: string): void {
    this.write(`${UNITS}/${name}`, text);
  }

  /** The units of all daemons. */
  daemons(folder = UNITS): void {
    for (const daemon of daemons) {
      this.write(`${folder}/${daemon.name}.service`, daemonUnit(daemon));
    }
  }

  enable(...units: readonly string[]): void {
    command("systemctl", `--root=${this.#root}`, "enable", ...units);
  }

  /** Turns it on with this disk, runs the script when it is up, and turns it off. */
  async boot(device: string | null, script = ""): Promise<Boot> {
    clearRecords(this.path(RECORDS));
    this.write(`${RECORDS}/scenario`, script);
    await this.#run(device);
    return readRecords(this.path(RECORDS));
  }

  async #run(device: string | null): Promise<void> {
    const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"];
    const cgroup = newCgroup(this.#box);
    const child = Bun.spawn(
      [
        ...[tool("unshare"), ...namespaces, tool("bash"), join(import.meta.dir, "boot.sh")],
        ...[this.#root, cgroup, agentPath, this.path(this.#agentPlace)],
        ...(device === null ? [] : [device]),
      ],
      { stdin: "ignore", stderr: "pipe", timeout: BOOT_LIMIT_MS, killSignal: "SIGKILL" },
    );
    this.#box.onEnd(() => child.kill("SIGKILL"));
    const said = await new Response(child.stderr).text();
    await child.exited;
    // To power off, the kernel ends PID 1 of a namespace with SIGINT (reboot(2)).
    if (child.signalCode === "SIGINT") return;
    const journal = `--directory=${this.path(JOURNAL)}`;
    const log = tryCommand("journalctl", journal, "--no-pager").stdout;
    throw new Error(`the machine ended with ${child.signalCode ?? child.exitCode}: ${said}${log}`);
  }
}
