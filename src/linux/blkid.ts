import { CString, dlopen, FFIType, type Pointer } from "bun:ffi";
import { cString } from "./text.ts";

const { ptr, int, i64_fast: offset } = FFIType;

/** blkid/blkid.h: BLKID_SUBLKS_TYPE */
const withType = 1 << 5;

function openLibrary() {
  try {
    return dlopen("libblkid.so.1", {
      blkid_new_probe: { args: [], returns: ptr },
      blkid_free_probe: { args: [ptr], returns: FFIType.void },
      blkid_probe_set_device: { args: [ptr, int, offset, offset], returns: int },
      blkid_probe_enable_superblocks: { args: [ptr, int], returns: int },
      blkid_probe_set_superblocks_flags: { args: [ptr, int], returns: int },
      blkid_probe_enable_partitions: { args: [ptr, int], returns: int },
      blkid_do_safeprobe: { args: [ptr], returns: int },
      blkid_probe_lookup_value: { args: [ptr, ptr, ptr, ptr], returns: int },
    }).symbols;
  } catch {
    // A container VM has no libblkid. It names things in messages; no decision needs it.
    return null;
  }
}

/** What libblkid takes the open disk for ("zfs_member", "gpt"); null without a library or an answer. */
export function blkidName(fd: number): string | null {
  const blkid = openLibrary();
  const probe = blkid?.blkid_new_probe() ?? null;
  if (blkid === null || probe === null) return null;
  try {
    blkid.blkid_probe_enable_superblocks(probe, 1);
    blkid.blkid_probe_set_superblocks_flags(probe, withType);
    blkid.blkid_probe_enable_partitions(probe, 1);
    if (blkid.blkid_probe_set_device(probe, fd, 0, 0) !== 0) return null;
    if (blkid.blkid_do_safeprobe(probe) !== 0) return null;
    const value = new Uint8Array(new ArrayBuffer(8));
    for (const key of ["TYPE", "PTTYPE"]) {
      if (blkid.blkid_probe_lookup_value(probe, cString(key), value, null) !== 0) continue;
      const address = Number(new DataView(value.buffer).getBigUint64(0, true));
      return new CString(address as Pointer).toString();
    }
    return null;
  } finally {
    blkid.blkid_free_probe(probe);
  }
}
