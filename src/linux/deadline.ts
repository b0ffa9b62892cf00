import type { Kernel } from "./kernel.ts";

/** A moment at which something that may take long is given up. */
export class Deadline {
  readonly #kernel: Kernel;
  readonly #endMs: number;

  constructor(kernel: Kernel, waitMs: number) {
    this.#kernel = kernel;
    this.#endMs = kernel.nowMs() + waitMs;
  }

  get leftMs(): number {
    return Math.max(0, this.#endMs - this.#kernel.nowMs());
  }

  get isOver(): boolean {
    return this.leftMs === 0;
  }
}
