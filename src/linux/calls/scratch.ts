/**
 * Memory that the kernel reads or fills during one call. Calls are synchronous, so each kind of struct
 * has one for all of them.
 */
export const scratch = (sizeBytes: number): { bytes: Uint8Array; view: DataView } => {
  const bytes = new Uint8Array(sizeBytes);
  return { bytes, view: new DataView(bytes.buffer) };
};
