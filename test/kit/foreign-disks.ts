import { mkdirSync, writeFileSync } from "node:fs";
import { command, tool } from "./command.ts";
import { writeAt } from "./image.ts";
import type { Disk, Sandbox } from "./sandbox.ts";

/** Makes a disk somebody else's with the tool that really does it. */
export interface ForeignDisk {
  readonly what: string;
  /** What the refusal has to call it. */
  readonly named: RegExp;
  readonly make: (disk: Disk, box: Sandbox) => void;
}

export const madeByTools: readonly ForeignDisk[] = [
  {
    what: "ext4",
    named: /ext/i,
    make: ({ device }) => command("mkfs.ext4", "-q", "-F", device),
  },
  {
    what: "ext4 with 1 KiB blocks",
    named: /ext/i,
    make: ({ device }) => command("mkfs.ext4", "-q", "-F", "-b", "1024", device),
  },
  { what: "xfs", named: /xfs/i, make: ({ device }) => command("mkfs.xfs", "-q", "-f", device) },
  { what: "swap", named: /swap/i, make: ({ device }) => command("mkswap", "-f", device) },
  {
    what: "an empty GPT",
    named: /gpt|partition/i,
    make: ({ device }) => partition(device, "label: gpt\n"),
  },
  {
    what: "a GPT with a partition",
    named: /gpt|partition/i,
    make: ({ device }) => partition(device, "label: gpt\nsize=100M\n"),
  },
  {
    what: "an MBR with a partition",
    named: /mbr|dos|partition/i,
    make: ({ device }) => partition(device, "label: dos\nsize=100M\n"),
  },
  { what: "squashfs", named: /squash/i, make: squashfs },
];

function partition(device: string, script: string): void {
  const done = Bun.spawnSync([tool("sfdisk"), "--force", "--quiet", device], {
    stdin: Buffer.from(script),
  });
  if (done.exitCode !== 0) throw new Error(`sfdisk ${device}: ${done.stderr.toString()}`);
}

function squashfs({ image }: Disk, box: Sandbox): void {
  const content = box.path("squash-content");
  mkdirSync(content, { recursive: true });
  writeFileSync(`${content}/file`, "text");
  const made = box.path("squash.tmp");
  command("mksquashfs", content, made, "-quiet", "-no-progress");
  command("dd", `if=${made}`, `of=${image}`, "conv=notrunc", "status=none");
}

/** A signature as its format defines it; the tools are not in every distribution. */
export interface Signature {
  readonly what: string;
  readonly named: RegExp;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

const KiB = 1024;
const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** Magic numbers of the first 64 KiB, each as the field's own header gives it. */
export const signatures: readonly Signature[] = [
  { what: "LUKS1", named: /luks/i, offset: 0, bytes: ascii("LUKS\xba\xbe\x00\x01") },
  { what: "LUKS2", named: /luks/i, offset: 0, bytes: ascii("LUKS\xba\xbe\x00\x02") },
  {
    what: "LUKS2's second header",
    named: /luks/i,
    offset: 16 * KiB,
    bytes: ascii("SKUL\xba\xbe\x00\x02"),
  },
  { what: "an LVM physical volume", named: /lvm/i, offset: 512, bytes: lvmLabel() },
  { what: "xfs", named: /xfs/i, offset: 0, bytes: ascii("XFSB") },
  { what: "ext4", named: /ext/i, offset: 1024 + 56, bytes: Buffer.from([0x53, 0xef]) },
  { what: "swap", named: /swap/i, offset: 4096 - 10, bytes: ascii("SWAPSPACE2") },
  { what: "squashfs", named: /squash/i, offset: 0, bytes: ascii("hsqs") },
  { what: "EROFS", named: /erofs/i, offset: 1024, bytes: Buffer.from([0xe2, 0xe1, 0xf5, 0xe0]) },
  { what: "f2fs", named: /f2fs/i, offset: 1024, bytes: Buffer.from([0x10, 0x20, 0xf5, 0xf2]) },
  { what: "NTFS", named: /ntfs/i, offset: 3, bytes: ascii("NTFS    ") },
  { what: "exFAT", named: /exfat/i, offset: 3, bytes: ascii("EXFAT   ") },
  { what: "ISO 9660", named: /iso ?9660/i, offset: 32 * KiB + 1, bytes: ascii("CD001") },
  { what: "JFS", named: /jfs/i, offset: 32 * KiB, bytes: ascii("JFS1\x01\x00\x00\x00") },
  { what: "bcache", named: /bcache/i, offset: 4096 + 24, bytes: bcacheMagic() },
];

function lvmLabel(): Uint8Array {
  const label = Buffer.alloc(512);
  label.write("LABELONE", 0, "latin1");
  label.writeBigUInt64LE(1n, 8);
  label.writeUInt32LE(32, 20);
  label.write("LVM2 001", 24, "latin1");
  return label;
}

function bcacheMagic(): Uint8Array {
  return Buffer.from("c68573f64e1a45ca8265f57f48ba6d81", "hex");
}

export const stamp = (image: string, { offset, bytes }: Signature): void =>
  writeAt(image, offset, bytes);

/** A reiserfs superblock lies where Btrfs has its own. */
export const reiserfs: readonly Signature[] = [
  {
    what: "reiserfs 3.6",
    named: /reiser/i,
    offset: 64 * KiB,
    bytes: reiserSuperblock("ReIsEr2Fs"),
  },
  { what: "reiserfs 3.5", named: /reiser/i, offset: 8 * KiB, bytes: reiserSuperblock("ReIsErFs") },
];

function reiserSuperblock(magic: string): Uint8Array {
  const block = Buffer.alloc(4096);
  block.writeUInt32LE(262144, 0); // s_block_count
  block.writeUInt32LE(250000, 4); // s_free_blocks
  block.writeUInt16LE(4096, 44); // s_blocksize
  block.write(magic, 52, "latin1");
  return block;
}
