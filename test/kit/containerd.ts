import { mkdirSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { command } from "./command.ts";
import { unpackedFile } from "./debian.ts";
import type { Sandbox } from "./sandbox.ts";

const READY_LIMIT_MS = 20_000;

/** A containerd of Debian, by hand: its directory on the volume, everything else in the sandbox. */
export class Containerd {
  readonly #child: ReturnType<typeof Bun.spawn>;
  readonly #socket: string;

  private constructor(box: Sandbox, root: string) {
    this.#socket = box.path("containerd.sock");
    const config = box.path("containerd.toml");
    // Without Kubernetes' part, which wants a network.
    writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    const flags = ["--config", config, "--root", root, "--state", box.path("containerd-state")];
    const log = Bun.file(box.path("containerd.log"));
    this.#child = Bun.spawn(
      [unpackedFile("**/bin/containerd"), ...flags, "--address", this.#socket],
      { stdin: "ignore", stdout: log, stderr: log },
    );
    box.onEnd(() => this.#child.kill("SIGKILL"));
  }

  /** Starts one and waits until it answers. */
  static async start(box: Sandbox, root: string): Promise<Containerd> {
    const daemon = new Containerd(box, root);
    const limit = performance.now() + READY_LIMIT_MS;
    while (daemon.#run("version").exitCode !== 0) {
      if (performance.now() > limit || daemon.#child.exitCode !== null) {
        throw new Error(`containerd: ${readFileSync(box.path("containerd.log"), "utf8")}`);
      }
      await Bun.sleep(50);
    }
    return daemon;
  }

  #run(...args: readonly string[]) {
    const ctr = unpackedFile("**/bin/ctr");
    return Bun.spawnSync([ctr, "--address", this.#socket, ...args], { stdin: "ignore" });
  }

  /** Runs a command of ctr, which has to succeed. */
  ctr(...args: readonly string[]): string {
    const { exitCode, stdout, stderr } = this.#run(...args);
    if (exitCode === 0) return stdout.toString();
    throw new Error(`ctr ${args.join(" ")}: ${stdout.toString()}${stderr.toString()}`);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }
}

/** An image of one layer, as `docker save` writes it: made of a folder. */
export function imageArchive(box: Sandbox, folder: string, name: string): string {
  const parts = box.path("image-parts");
  mkdirSync(parts, { recursive: true });
  const layer = join(parts, "layer.tar");
  command("tar", "-C", folder, "-cf", layer, ".");
  const digest = createHash("sha256").update(readFileSync(layer)).digest("hex");
  const rootfs = { type: "layers", diff_ids: [`sha256:${digest}`] };
  const config = { architecture: "amd64", os: "linux", config: {}, rootfs };
  writeFileSync(join(parts, "config.json"), JSON.stringify(config));
  const manifest = [{ Config: "config.json", RepoTags: [name], Layers: ["layer.tar"] }];
  writeFileSync(join(parts, "manifest.json"), JSON.stringify(manifest));
  const archive = box.path("image.tar");
  command("tar", "-C", parts, "-cf", archive, "manifest.json", "config.json", "layer.tar");
  return archive;
}
