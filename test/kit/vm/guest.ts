import { readFileSync } from "node:fs";
import type { Subprocess } from "bun";
import { type Command, type Run, reported, type VolumeRun } from "../agent.ts";
import { tool } from "../command.ts";
import { depth } from "../depth.ts";
import type { Sandbox } from "../sandbox.ts";
import { guestRoot } from "./guest-root.ts";
import { lines } from "./lines.ts";
import { type Machine, x64Machine } from "./machine.ts";
import { Monitor } from "./monitor.ts";
import { type GuestDisk, qemuArguments } from "./qemu-arguments.ts";

/** A guest that lives longer hangs. It takes 5 s of a processor, which others may want too. */
export const GUEST_LIMIT_MS = depth(100_000, 600_000);

type Qemu = Subprocess<"pipe", "pipe", "pipe">;

/** A virtual machine that runs Debian's kernel and the program under test; it ends with its test. */
export class Guest {
  readonly #qemu: Qemu;
  readonly #console: string;
  readonly #monitorPath: string;
  readonly #answers: AsyncGenerator<string, void, void>;
  #monitor: Promise<Monitor> | undefined;

  private constructor(qemu: Qemu, console: string, monitorPath: string) {
    this.#qemu = qemu;
    this.#console = console;
    this.#monitorPath = monitorPath;
    this.#answers = lines(qemu.stdout);
  }

  static async boot(
    box: Sandbox,
    disks: readonly GuestDisk[],
    commandLine = "",
    machine: Machine = x64Machine,
  ): Promise<Guest> {
    const name = `guest-${crypto.randomUUID().slice(0, 8)}`;
    const files = {
      root: await guestRoot(machine),
      console: box.path(`${name}.console`),
      monitor: box.path(`${name}.monitor`),
    };
    const qemu = Bun.spawn(
      [
        // QEMU ends with us even if we are killed outright.
        ...[tool("setpriv"), "--pdeathsig", "KILL", tool(machine.qemu)],
        ...qemuArguments(machine, files, disks, commandLine),
      ],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe", timeout: GUEST_LIMIT_MS, killSignal: 9 },
    );
    const guest = new Guest(qemu, files.console, files.monitor);
    box.onEnd(() => qemu.kill("SIGKILL"));
    const greeting = await guest.#answer("booting");
    if (greeting !== "ready") throw new Error(`the guest said ${greeting}`);
    return guest;
  }

  /** Runs a shell script in the guest. */
  async run(script: string): Promise<Run> {
    const began = performance.now();
    await this.#qemu.stdin.write(`${Buffer.from(script).toString("base64")}\n`);
    await this.#qemu.stdin.flush();
    const answer = await this.#answer(script);
    const [exitCode = "", stdout = "", stderr = ""] = answer.split(" ");
    const text = (field: string): string => Buffer.from(field, "base64").toString();
    const ms = performance.now() - began;
    return { exitCode: Number(exitCode), stdout: text(stdout), stderr: text(stderr), ms };
  }

  /** The output of a script that had to succeed. */
  async output(script: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(script);
    if (exitCode === 0) return stdout;
    throw new Error(`in the guest: ${script}: exit ${exitCode}: ${stdout}${stderr}`);
  }

  /** `arcbox-agent volume … --json` in the guest; the report is checked. */
  volume(command: Command, ...args: readonly string[]): Promise<VolumeRun> {
    const words = ["arcbox-agent", "volume", command, "--json", ...args];
    return reported(command, this.run(words.map((word) => `'${word}'`).join(" ")));
  }

  /** A command to QEMU itself, such as block_resize. */
  async monitor(command: string, args: object): Promise<unknown> {
    this.#monitor ??= Monitor.connect(this.#monitorPath);
    return (await this.#monitor).execute(command, args);
  }

  /** The power is gone: nothing more reaches the disks. */
  async cut(): Promise<void> {
    this.#qemu.kill("SIGKILL");
    await this.#qemu.exited;
  }

  async #answer(to: string): Promise<string> {
    const { value } = await this.#answers.next();
    if (value !== undefined) return value;
    const errors = await new Response(this.#qemu.stderr).text();
    const console = readFileSync(this.#console, "latin1").slice(-6000);
    throw new Error(`the guest ended (${to}): ${errors}\n${console}`);
  }
}
