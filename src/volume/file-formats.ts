import { shellWord } from "./shell-word.ts";
import { atEnd, type EndSignature, lastSectors, type Signature, sign } from "./signatures.ts";

/**
 * Files that hold a disk in another way than byte for byte, and archives. Used as a raw image such a file would be
 * destroyed: its bytes are not those of the disk, and what is at 64 KiB may well be a superblock. Sources:
 * QEMU's block/ (the probe function of each driver), VirtualBox' VDICore.h, the formats' own descriptions, and
 * the magic numbers of file(1).
 */

const disks = (): readonly Signature[] => [
  // struct QCowHeader: the version follows, in the big end's order.
  sign("qcow2 disk image", "x:514649fb", 0, (head) => (head[7] ?? 0) > 1),
  sign("qcow disk image", "x:514649fb", 0),
  sign("QED disk image", "QED\0", 0),
  sign("VMDK disk image", "KDMV", 0),
  sign("VMDK disk image", "COWD", 0),
  sign("VMDK disk image", "# Disk DescriptorFile", 0),
  sign("VDI disk image", "x:7f10dabe", 64),
  sign("VHDX disk image", "vhdxfile", 0),
  sign("VHD disk image", "conectix", 0),
  sign("Parallels disk image", "WithoutFreeSpace", 0),
  sign("Parallels disk image", "WithouFreSpacExt", 0),
  sign("Bochs disk image", "Bochs Virtual HD Image", 0),
  sign("Apple sparse disk image", "sprs", 0),
  sign("Apple sparse disk image", "shdw", 0),
  sign("user-mode Linux COW disk image", "OOOM", 0),
  sign("CHD disk image", "MComprHD", 0),
  sign("EnCase disk image", "x:455646090d0aff00", 0),
  sign("Android sparse disk image", "x:3aff26ed", 0),
  sign("Windows disk image (WIM)", "MSWIM\0\0\0", 0),
  sign("cloop disk image", "#!/bin/sh\n#V2.0 Format", 0),
  sign("partclone disk image", "partclone-image", 0),
  sign("partimage disk image", "PaRtImAgE-VoLuMe", 0),
  sign("ntfsclone disk image", "\0ntfsclone-image", 0),
  sign("FSArchiver archive", "FsArCh_", 0),
  sign("Btrfs stream", "btrfs-stream\0", 0),
  sign("Btrfs metadata image", "x:8b669572e2255cbd", 0),
];

const archives = (): readonly Signature[] => [
  sign("gzip archive", "x:1f8b08", 0),
  sign("compress archive", "x:1f9d", 0),
  sign("xz archive", "x:fd377a585a00", 0),
  sign("zstd archive", "x:28b52ffd", 0),
  // pzstd and zstd --adapt: a frame to skip comes first.
  sign("zstd archive", "x:502a4d18", 0),
  sign("bzip2 archive", "BZh", 0, (head) => isBzip2Block(head)),
  sign("lz4 archive", "x:04224d18", 0),
  sign("lz4 archive", "x:02214c18", 0),
  sign("lzop archive", "x:894c5a4f000d0a1a0a", 0),
  sign("lzip archive", "LZIP", 0),
  sign("snappy archive", "x:ff060000734e61507059", 0),
  sign("zip archive", "x:504b0304", 0),
  sign("zip archive", "x:504b0506", 0),
  sign("7z archive", "x:377abcaf271c", 0),
  sign("rar archive", "x:526172211a07", 0),
  sign("tar archive", "ustar", 257),
  sign("cpio archive", "070701", 0),
  sign("cpio archive", "070702", 0),
  sign("cpio archive", "070707", 0),
  sign("xar archive", "xar!", 0),
  sign("cabinet archive", "MSCF\0\0\0\0", 0),
  sign("ar archive", "!<arch>\n", 0),
  sign("RPM package", "x:edabeedb", 0),
];

/** Behind "BZh" stand the size of the blocks and the mark of the first, pi; of an empty file the last, its root. */
function isBzip2Block(head: Uint8Array): boolean {
  const isMark = (...mark: number[]): boolean => mark.every((byte, i) => head[4 + i] === byte);
  return isMark(0x31, 0x41, 0x59, 0x26, 0x53, 0x59) || isMark(0x17, 0x72, 0x45, 0x38, 0x50, 0x90);
}

/** Those that begin with their mark. Made only for a disk that does not begin with zeros. */
export const fileFormats = (): readonly Signature[] => [...disks(), ...archives()];

const fixedVhd = "VHD disk image of fixed size";
const appleImage = "Apple disk image";

/** Those that end with it: a VHD of fixed size is the disk byte for byte, and a footer behind it. */
export const endFormats = (): readonly EndSignature[] => [
  atEnd(fixedVhd, "conectix", lastSectors(1)),
  atEnd(appleImage, "koly", lastSectors(1)),
];

/** Whether what a disk is called ("qcow2 disk image") is such a format, and not a filesystem. */
export const isFileFormat = (name: string): boolean =>
  [...fileFormats(), ...endFormats()].some((format) => format.name === name);

const unpackers: ReadonlyMap<string, string> = new Map([
  ["gzip archive", "gzip"],
  ["xz archive", "xz"],
  ["zstd archive", "zstd"],
  ["bzip2 archive", "bzip2"],
  ["lz4 archive", "lz4"],
]);

/** Those that qemu-img knows when it sees them. */
const probed = /^(qcow|qcow2|QED|VMDK|VDI|VHDX|VHD|Parallels|Bochs) disk image$/;
/** Those that it must be told of. */
const drivers: ReadonlyMap<string, string> = new Map([
  [fixedVhd, "-f vpc "],
  [appleImage, "-f dmg "],
]);

/** What makes a raw image of a file in this format. */
export function conversionHint(name: string, path: string): string {
  const [from, to] = [shellWord(path), shellWord(`${path}.raw`)];
  const unpacker = unpackers.get(name);
  const driver = probed.test(name) ? "" : drivers.get(name);
  const command =
    unpacker === undefined
      ? `qemu-img convert ${driver}-O raw ${from} ${to}`
      : `${unpacker} -dc ${from} > ${to}`;
  return unpacker === undefined && driver === undefined
    ? "give an image that is the disk byte for byte, or a path where nothing is"
    : `make a raw image of it, and give that: ${command}`;
}
