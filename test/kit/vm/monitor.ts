import { createConnection, type Socket } from "node:net";
import { lines } from "./lines.ts";

/** QEMU's monitor (QMP): one JSON document a line, each command answered by one `return` or `error`. */
export class Monitor {
  readonly #socket: Socket;
  readonly #lines: AsyncGenerator<string, void, void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = lines(socket);
  }

  static async connect(path: string): Promise<Monitor> {
    const monitor = new Monitor(createConnection(path));
    await monitor.execute("qmp_capabilities");
    return monitor;
  }

  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { value } = await this.#lines.next();
      if (value === undefined) throw new Error(`the monitor ended before it answered ${command}`);
      const answer: unknown = JSON.parse(value);
      if (typeof answer !== "object" || answer === null) continue;
      if ("return" in answer) return answer.return;
      if ("error" in answer) throw new Error(`${command}: ${value}`);
      // Its greeting, or news of something else.
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
