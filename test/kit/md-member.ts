import { writeAt } from "./image.ts";

const MD_MAGIC = 0xa92b4efc;
const SECTOR = 512;

/** A member of an md array: mdadm refuses to write one where the kernel has no md. */
export interface MdFormat {
  readonly version: "0.90" | "1.0" | "1.1" | "1.2";
  readonly offset: (deviceBytes: number) => number;
}

export const mdFormats: readonly MdFormat[] = [
  { version: "0.90", offset: (bytes) => bytes - (bytes % 65536) - 65536 },
  { version: "1.0", offset: (bytes) => (((bytes / SECTOR - 16) >>> 3) << 3) * SECTOR },
  { version: "1.1", offset: () => 0 },
  { version: "1.2", offset: () => 4096 },
];

export function writeMdSuperblock(image: string, deviceBytes: number, format: MdFormat): void {
  const block = format.version === "0.90" ? version0() : version1(deviceBytes, format);
  writeAt(image, format.offset(deviceBytes), block);
}

/** mdp_super_t in linux/raid/md_p.h, host byte order. */
function version0(): Buffer {
  const block = Buffer.alloc(4096);
  block.writeUInt32LE(MD_MAGIC, 0);
  block.writeUInt32LE(0, 4); // major_version
  block.writeUInt32LE(90, 8); // minor_version
  block.writeUInt32LE(0x0c0ffee0, 20); // set_uuid0
  block.writeUInt32LE(1, 28); // level
  block.writeUInt32LE(2, 36); // nr_disks
  block.writeUInt32LE(2, 40); // raid_disks
  let sum = 0n;
  for (let at = 0; at < 4096; at += 4) sum += BigInt(block.readUInt32LE(at));
  block.writeUInt32LE(Number((sum & 0xffffffffn) + (sum >> 32n)), 38 * 4); // sb_csum
  return block;
}

/** mdp_superblock_1 in linux/raid/md_p.h, with the checksum of calc_sb_1_csum. */
function version1(deviceBytes: number, format: MdFormat): Buffer {
  const block = Buffer.alloc(256 + 2 * 2);
  block.writeUInt32LE(MD_MAGIC, 0);
  block.writeUInt32LE(1, 4); // major_version
  block.fill(0xab, 16, 32); // set_uuid
  block.write("arcbox:test", 32, "latin1"); // set_name
  block.writeInt32LE(1, 72); // level
  block.writeBigUInt64LE(BigInt(Math.floor(deviceBytes / SECTOR / 2)), 80); // size
  block.writeUInt32LE(2, 92); // raid_disks
  block.writeBigUInt64LE(BigInt(format.version === "1.0" ? 0 : 2048), 128); // data_offset
  block.writeBigUInt64LE(BigInt(format.offset(deviceBytes) / SECTOR), 144); // super_offset
  block.writeUInt32LE(2, 220); // max_dev
  let sum = 0n;
  for (let at = 0; at + 4 <= block.length; at += 4) sum += BigInt(block.readUInt32LE(at));
  block.writeUInt32LE(Number(((sum & 0xffffffffn) + (sum >> 32n)) & 0xffffffffn), 216); // sb_csum
  return block;
}
