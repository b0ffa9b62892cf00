import { writeFileSync } from "node:fs";
import { command, tool } from "./command.ts";
import { GiB, writeAt } from "./image.ts";
import { mdFormats, writeMdSuperblock } from "./md-member.ts";
import type { Disk, Sandbox } from "./sandbox.ts";
import { unpackedCommand } from "./unpacked.ts";

/** Makes a disk somebody else's with the tool that really does it. */
export interface ForeignDisk {
  readonly what: string;
  /** What the refusal has to call it. */
  readonly named: RegExp;
  readonly make: (disk: Disk, box: Sandbox) => void;
}

type Make = ForeignDisk["make"];

/** An installed program that is given options and then the device. */
const by =
  (name: string, ...options: readonly string[]): Make =>
  ({ device }) =>
    command(name, ...options, device);

/** The same with one that is only unpacked. */
const byUnpacked =
  (name: string, ...options: readonly string[]): Make =>
  ({ device }) =>
    unpackedCommand(name, ...options, device);

const table =
  (...lines: readonly string[]): Make =>
  ({ device }) =>
    partition(device, `${lines.join("\n")}\n`);

/** A tool that makes a file of its own, which is then laid over the disk. */
const asFile =
  (make: (file: string, content: string) => void): Make =>
  ({ image }, box) => {
    const content = box.folder("content");
    writeFileSync(`${content}/file`, "text");
    const file = box.path("made.tmp");
    make(file, content);
    command("dd", `if=${file}`, `of=${image}`, "conv=notrunc", "status=none");
  };

const luks =
  (type: "luks1" | "luks2"): Make =>
  ({ device }, box) => {
    const key = box.path("key");
    writeFileSync(key, "a key");
    const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    const options = ["--batch-mode", "--type", type, "--key-file", key, ...cheap];
    command("cryptsetup", "luksFormat", ...options, device);
  };

/** Without a file of /etc or /run, and without a look at any other disk. */
const lvm: Make = ({ device }, box) => {
  const config = [
    `devices { use_devicesfile=0 filter=["a|^${device}$|","r|.*|"] obtain_device_list_from_udev=0 }`,
    `global { locking_dir="${box.folder("lvm")}" event_activation=0 }`,
    "backup { backup=0 archive=0 }",
    "activation { udev_sync=0 udev_rules=0 }",
  ];
  unpackedCommand("lvm", "pvcreate", "--config", config.join(" "), "--force", "--yes", device);
};

const drbd =
  (version: "v08" | "v09"): Make =>
  ({ device }) => {
    const peers = version === "v09" ? ["1"] : [];
    unpackedCommand(
      "drbdmeta",
      "--force",
      "/dev/drbd0",
      version,
      device,
      "internal",
      "create-md",
      ...peers,
    );
  };

const row = (what: string, named: RegExp, make: Make): ForeignDisk => ({ what, named, make });

export const madeByTools: readonly ForeignDisk[] = [
  row("ext4", /ext4/, by("mkfs.ext4", "-q", "-F")),
  row("ext4 with 1 KiB blocks", /ext4/, by("mkfs.ext4", "-q", "-F", "-b", "1024")),
  row("ext2", /ext2/, by("mkfs.ext2", "-q", "-F")),
  row("an ext4 journal", /ext4/, by("mkfs.ext4", "-q", "-F", "-O", "journal_dev")),
  row("xfs", /XFS/, by("mkfs.xfs", "-q", "-f")),
  row("f2fs", /F2FS/, by("mkfs.f2fs", "-q", "-f")),
  row("exfat", /exFAT/, by("mkfs.exfat")),
  row("FAT16", /FAT/, by("mkfs.fat", "-I", "-F", "16")),
  row("FAT32", /FAT/, by("mkfs.fat", "-I", "-F", "32")),
  row("ntfs", /NTFS/, byUnpacked("mkntfs", "-Q", "-F")),
  row("nilfs2", /NILFS/, by("mkfs.nilfs2", "-q", "-f")),
  row("jfs", /JFS/, by("jfs_mkfs", "-q")),
  row("reiserfs", /ReiserFS/, by("mkfs.reiserfs", "-q", "-ff")),
  row("reiser4", /Reiser4/, by("mkfs.reiser4", "-f", "-y")),
  row("minix 1", /Minix/, by("mkfs.minix", "-1")),
  row("minix 2", /Minix/, by("mkfs.minix", "-2")),
  row("minix 3", /Minix/, by("mkfs.minix", "-3")),
  row("bfs", /BFS/, by("mkfs.bfs")),
  row("gfs2", /GFS2/, byUnpacked("mkfs.gfs2", "-O", "-p", "lock_nolock")),
  row("udf of 512 bytes a block", /UDF/, byUnpacked("mkudffs", "-b", "512")),
  row("udf of 2 KiB a block", /UDF/, byUnpacked("mkudffs", "-b", "2048", "--media-type=dvdrw")),
  row("udf of 4 KiB a block", /UDF/, byUnpacked("mkudffs", "-b", "4096")),
  row("swap", /swap/, by("mkswap", "-f")),
  row("LUKS1", /LUKS/, luks("luks1")),
  row("LUKS2", /LUKS/, luks("luks2")),
  row("an LVM physical volume", /LVM/, lvm),
  row("a bcache backing device", /bcache/, byUnpacked("make-bcache", "-B")),
  row("a bcache cache", /bcache/, byUnpacked("make-bcache", "-C")),
  row("drbd 8", /DRBD/, drbd("v08")),
  row("drbd 9", /DRBD/, drbd("v09")),
  ...mdFormats.map((format) =>
    row(`a member of an md array, version ${format.version}`, /md RAID/, ({ image }) =>
      writeMdSuperblock(image, GiB, format),
    ),
  ),
  row("an empty GPT", /GPT/, table("label: gpt")),
  row("a GPT with a partition", /GPT/, table("label: gpt", "size=100M")),
  row("an MBR with a partition", /MBR/, table("label: dos", "size=100M")),
  row("a Sun label", /Sun/, table("label: sun", "size=100M")),
  row("an SGI label", /SGI/, table("label: sgi", "size=100M")),
  row(
    "squashfs",
    /squash/,
    asFile((file, content) => command("mksquashfs", content, file, "-quiet", "-no-progress")),
  ),
  row(
    "erofs",
    /EROFS/,
    asFile((file, content) => command("mkfs.erofs", file, content)),
  ),
  row(
    "cramfs",
    /cramfs/,
    asFile((file, content) => command("mkfs.cramfs", content, file)),
  ),
  row(
    "romfs",
    /romfs/,
    asFile((file, content) => command("genromfs", "-d", content, "-f", file)),
  ),
  row(
    "iso9660",
    /ISO 9660/,
    asFile((file, content) => command("genisoimage", "-quiet", "-o", file, content)),
  ),
  row("a dm-verity hash device", /verity/, verityHash),
];

function verityHash({ device }: Disk, box: Sandbox): void {
  const data = box.path("data.tmp");
  command("truncate", "--size=4M", data);
  command("veritysetup", "format", data, device);
}

function partition(device: string, script: string): void {
  const done = Bun.spawnSync([tool("sfdisk"), "--force", "--quiet", device], {
    stdin: Buffer.from(script),
  });
  if (done.exitCode !== 0) throw new Error(`sfdisk ${device}: ${done.stderr.toString()}`);
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
  { what: "drbdmanage", named: /drbdmanage/, offset: 0, bytes: ascii("$DRBDmgr=q") },
  { what: "UBIFS", named: /UBIFS/, offset: 0, bytes: Buffer.from([0x31, 0x18, 0x10, 0x06]) },
  { what: "VxFS", named: /VxFS/, offset: 8192, bytes: Buffer.from([0xa5, 0x01, 0xfc, 0xf5]) },
  { what: "a NetWare pool", named: /NetWare/, offset: 4096, bytes: ascii("SPB5") },
  { what: "zonefs", named: /zonefs/, offset: 0, bytes: ascii("SFOZ") },
  // vdev_phys_t at 16 KiB: an XDR nvlist, little endian, whose names are unique (libnvpair).
  {
    what: "ZFS",
    named: /zfs/i,
    offset: 16 * KiB,
    bytes: Buffer.from("010100000000000000000001", "hex"),
  },
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
