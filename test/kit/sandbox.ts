import { afterEach, beforeEach, setDefaultTimeout } from "bun:test";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { command, tool, tryCommand } from "./command.ts";
import { addEmptyLoop, removeLoop } from "./libc.ts";
import { attachedLoops, detachLoop } from "./loops.ts";
import { mounts, mountsUnder } from "./mountinfo.ts";

export interface Disk {
  /** The sparse file. */
  readonly image: string;
  /** The loop device that shows it. */
  readonly device: string;
}

/** A folder whose mounts, loop devices and processes end with the test that made them. */
export class Sandbox {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), "arcbox-test-")));
  /** What tests give as `--root`; the agent makes it. */
  readonly root = join(this.dir, "root");
  readonly #emptyLoops: string[] = [];
  readonly #processes: Subprocess[] = [];
  readonly #closers: (() => void)[] = [];
  #images = 0;

  path(...parts: readonly string[]): string {
    return join(this.dir, ...parts);
  }

  folder(...parts: readonly string[]): string {
    const path = this.path(...parts);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** A sparse file. */
  image(sizeBytes: number, name?: string): string {
    this.#images += 1;
    const path = this.path(name ?? `disk${this.#images}.img`);
    const fd = openSync(path, "wx");
    ftruncateSync(fd, sizeBytes);
    closeSync(fd);
    return path;
  }

  attach(image: string, ...options: readonly string[]): string {
    return command("losetup", "--find", "--show", ...options, image).trim();
  }

  detach(device: string): void {
    detachLoop(device);
  }

  disk(sizeBytes: number): Disk {
    const image = this.image(sizeBytes);
    return { image, device: this.attach(image) };
  }

  /** A loop device without a medium, removed with the sandbox. */
  emptyLoop(): string {
    const device = addEmptyLoop();
    this.#emptyLoops.push(device);
    return device;
  }

  /** Mounts at a folder of the sandbox, which is made. */
  mount(source: string, name: string, ...options: readonly string[]): string {
    const target = name.startsWith("/") ? name : this.path(name);
    mkdirSync(target, { recursive: true });
    command("mount", ...options, source, target);
    return target;
  }

  umount(target: string): void {
    command("umount", target);
  }

  /** Shows `file` at `place` until the test ends. */
  cover(file: string, place: string): void {
    command("mount", "--bind", file, place);
    this.#closers.push(() => tryCommand("umount", "--lazy", place));
  }

  onEnd(close: () => void): void {
    this.#closers.push(close);
  }

  /** Starts a process that ends with the sandbox; resolves when it has printed its first line. */
  async spawnUntilReady(
    argv: readonly [string, ...string[]],
    options: { readonly cwd?: string } = {},
  ): Promise<Subprocess> {
    const [name, ...args] = argv;
    const child = Bun.spawn([tool(name), ...args], {
      cwd: options.cwd ?? "/",
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#processes.push(child);
    const { value } = await child.stdout.getReader().read();
    if (value === undefined) throw new Error(`${argv.join(" ")} ended at once`);
    return child;
  }

  /** Ends everything, whatever state the test left. Safe to call twice. */
  close(): void {
    for (const child of this.#processes) child.kill("SIGKILL");
    for (const close of this.#closers.reverse()) close();
    this.#closers.length = 0;
    this.#takeDown();
    for (const device of this.#emptyLoops) removeLoop(device);
    this.#emptyLoops.length = 0;
    if (existsSync(this.dir)) rmSync(this.dir, { recursive: true, force: true });
  }

  async ended(): Promise<void> {
    await Promise.all(this.#processes.map(({ exited }) => exited));
  }

  /** An image may lie on a mount that is itself an image's: what holds the other goes first. */
  #takeDown(): void {
    for (let layer = 0; layer < MOST_LAYERS; layer += 1) {
      for (const { path } of mountsUnder(this.dir).reverse()) tryCommand("umount", path);
      for (const device of attachedLoops(this.dir).keys()) {
        // A mounted one goes with its mount, in the next layer.
        if (!mounts().some(({ source }) => source === device)) detachLoop(device);
      }
    }
    for (const { path } of mountsUnder(this.dir).reverse()) tryCommand("umount", "--lazy", path);
  }
}

const MOST_LAYERS = 3;
const TEST_TIMEOUT_MS = 60_000;
const open = new Set<Sandbox>();

process.on("exit", closeAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(1));
}

function closeAll(): void {
  for (const box of open) box.close();
  open.clear();
}

/** Gives every test of the file its own sandbox. */
export function useSandbox(): () => Sandbox {
  setDefaultTimeout(TEST_TIMEOUT_MS);
  let current: Sandbox | undefined;
  beforeEach(() => {
    current = new Sandbox();
    open.add(current);
  });
  afterEach(async () => {
    const box = current;
    if (box === undefined) return;
    current = undefined;
    box.close();
    open.delete(box);
    await box.ended();
  });
  return () => {
    if (current === undefined) throw new Error("only inside a test");
    return current;
  };
}
