import { addressModulo } from "#native";

/** The largest sector size a disk has today, and a page: what O_DIRECT wants buffers aligned to. */
const alignmentBytes = 4096;

/** A zeroed buffer whose memory starts at a multiple of 4096, for O_DIRECT (open(2)). */
export function alignedBuffer(lengthBytes: number): Uint8Array {
  const memory = new Uint8Array(new ArrayBuffer(lengthBytes + alignmentBytes));
  const past = addressModulo(memory, alignmentBytes);
  const start = past === 0 ? 0 : alignmentBytes - past;
  return memory.subarray(start, start + lengthBytes);
}
